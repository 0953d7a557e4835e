#!/usr/bin/env bash
# Date:     2026-11-28
# Version:  tokenizers 0.23.3, sentencepiece 0.2.3, protobuf 7.36.2
# Input:    words whose letters are written with their marks behind them (Unicode's form NFD), normalized by the rules `nmt_nfkc`
#           of a SentencePiece model: by SentencePiece, and by the normalizer `Precompiled` of tokenizers with the same rules.
# Expected: the same text. transformers makes a `Precompiled` of the rules of XLM-R, NLLB, mBART and T5.
# Seen:     where a letter has two marks, `Precompiled` composes it with the first one and drops the second: `cậu` becomes `cạu`,
#           `tiếng` becomes `tiêng`. It takes the shortest rule that fits and throws the rest of the letter away. It leaves Korean
#           syllables decomposed. No error, no warning. (https://github.com/huggingface/tokenizers/issues/2116)
# Why it matters: macOS, PDF files and some keyboards give decomposed text. In Vietnamese most such words become other words, and
#           the same text tokenized by SentencePiece in training and by transformers in use has other ids. NFC first avoids it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "tokenizers==0.23.3" "sentencepiece==0.2.3" "protobuf==7.36.2"
HF_HUB_OFFLINE=1 venv/bin/python - <<'PY'
import unicodedata

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import normalizers

with open("text.txt", "w") as file:
    file.write("one two three four five six seven eight nine ten\n" * 20)
sentencepiece.SentencePieceTrainer.train(
    input="text.txt", model_prefix="model", vocab_size=20, normalization_rule_name="nmt_nfkc", minloglevel=2
)
proto = sentencepiece_model_pb2.ModelProto()
proto.ParseFromString(open("model.model", "rb").read())
fast = normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)
slow = sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc", add_dummy_prefix=False, escape_whitespaces=False)
found = {}
for word in ("cậu", "tiếng", "được", "nǚ", "Ṩ", "각", "é"):
    decomposed = unicodedata.normalize("NFD", word)
    mine, theirs = fast.normalize_str(decomposed), slow.normalize(decomposed)
    found[word] = mine, theirs
    print(f"{word}: sentencepiece {ascii(theirs)}, tokenizers {ascii(mine)}")
assert all(theirs == word for word, (_, theirs) in found.items()), "sentencepiece composes otherwise now"
assert [word for word, (mine, _) in found.items() if mine == word] == ["é"], "tokenizers composes two marks now"
assert found["cậu"][0] == "cạu"
PY
echo "as described"
