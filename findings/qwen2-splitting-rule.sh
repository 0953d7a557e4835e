#!/usr/bin/env bash
# Date:     2026-11-27
# Version:  transformers 5.23.0, tokenizers 0.23.3, Python 3.11
# Input:    a byte-level BPE tokenizer.json that splits numbers into groups of three digits, as Llama 3 does, beside a config.json
#           of the model type qwen2, and a tokenizer_config.json that declares the class TokenizersBackend.
# Expected: AutoTokenizer gives the tokens that tokenizer.json describes.
# Seen:     for some model types, such as qwen2, it takes vocabulary and merges from tokenizer.json and replaces the rule that
#           splits text by the one in its own source code, without a warning. With the model type llama, the same files give the
#           tokens that tokenizer.json describes.
# Why it matters: a model of Qwen 2's architecture with a tokenizer of its own learns other tokens in transformers than every
#           other reader of its tokenizer.json gives it later.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install transformers==5.23.0 tokenizers==0.23.3 sentencepiece protobuf
HF_HUB_OFFLINE=1 venv/bin/python - <<'PY'
import json
import pathlib

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer

letters = sorted(pre_tokenizers.ByteLevel.alphabet())
vocabulary = {piece: index for index, piece in enumerate(["<end>", *letters, "12", "123"])}
tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[("1", "2"), ("12", "3")]))
# The rule of Llama 3: a number is split into groups of three digits. Qwen 2 splits it into single digits.
groups = pre_tokenizers.Split(Regex(r"\p{N}{1,3}|\P{N}+"), "isolated")
tokenizer.pre_tokenizer = pre_tokenizers.Sequence([groups, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
tokenizer.decoder = decoders.ByteLevel()
expected = tokenizer.encode("123123").tokens
found = {}
for kind in ("llama", "qwen2"):
    model = pathlib.Path(kind)
    model.mkdir()
    tokenizer.save(str(model / "tokenizer.json"))
    (model / "config.json").write_text(json.dumps({"model_type": kind}))
    (model / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "TokenizersBackend", "eos_token": "<end>"}))
    loaded = AutoTokenizer.from_pretrained(kind)
    found[kind] = loaded.tokenize("123123")
    print(f"model type {kind}: {type(loaded).__name__}, 123123 -> {found[kind]}")
print(f"tokenizer.json says: {expected}")
assert found["llama"] == expected == ["123", "123"]
assert found["qwen2"] == ["1", "2", "3", "1", "2", "3"], "the behaviour has changed"
PY
