#!/usr/bin/env bash
# Date:     2026-11-27
# Version:  transformers 5.23.0, tokenizers 0.23.3, Python 3.11
# Input:    NLLB's tokenizer with the FLORES-200 code of Santali, src_lang="sat_Olck", as FLORES-200 and its papers write it.
# Expected: NLLB-200's languages are those of FLORES-200, under the same codes; so a text begins with the token of Santali.
# Seen:     the tokenizer's list has "sat_Beng", a code that FLORES-200 does not have. "sat_Olck" is no token. The text begins with
#           <unk>, and nothing says so: no code is checked.
# Why it matters: Santali (7 million speakers) is encoded as a text of an unknown language by every program that takes its codes
#           from FLORES. Whoever names a source language should look the code up in the tokenizer's own list first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "transformers==5.23.0" "tokenizers==0.23.3"
HF_HUB_OFFLINE=1 venv/bin/python - <<'PY' 2>/dev/null
from transformers import NllbTokenizer
from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

vocabulary = {piece: index for index, piece in enumerate(("<s>", "<pad>", "</s>", "<unk>", "▁", "ᱥ"))}
tokenizer = NllbTokenizer(vocab=vocabulary, merges=[])
for code in ("swh_Latn", "sat_Beng", "sat_Olck"):
    tokenizer.src_lang = code
    print(f"{code}: {tokenizer.convert_ids_to_tokens(tokenizer('ᱥ').input_ids)}")
print("codes of Santali in the list:", [code for code in FAIRSEQ_LANGUAGE_CODES if code.startswith("sat")])
assert "sat_Olck" not in FAIRSEQ_LANGUAGE_CODES, "the list has the code of FLORES now"
assert tokenizer("ᱥ").input_ids[0] == tokenizer.unk_token_id, "the code is checked now"
PY
echo "as described"
