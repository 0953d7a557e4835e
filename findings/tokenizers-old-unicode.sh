#!/usr/bin/env bash
# Date:     2026-11-27
# Version:  tokenizers 0.23.3, Python 3.11 (Unicode 14)
# Input:    U+32FF, the sign of the Japanese era that began in 2019, in NFKC; a letter with the N'Ko mark U+07FD (2018) and a mark
#           above, in NFC.
# Expected: the normalizers NFC, NFD, NFKC and NFKD of tokenizers give what Python's unicodedata gives.
# Seen:     the same for characters up to Unicode 9 (2016). Later ones are unknown: the era sign stays one sign, and newer marks
#           are not brought into the canonical order, so two spellings of one text stay two texts. No error, no warning.
# Why it matters: a pipeline that normalizes in Python or ICU for the corpus and trusts the tokenizer for the rest has two versions
#           of the same text, in scripts that Unicode has extended lately (N'Ko, Arabic for African languages, Bengali).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "tokenizers==0.23.3"
HF_HUB_OFFLINE=1 venv/bin/python - <<'PY'
import unicodedata

from tokenizers import normalizers

era, nko = "\u32ff", "\u07de\u07eb\u07fd"
found = {
    "NFKC of the era sign": (normalizers.NFKC().normalize_str(era), unicodedata.normalize("NFKC", era)),
    "NFC of N'Ko with two marks": (normalizers.NFC().normalize_str(nko), unicodedata.normalize("NFC", nko)),
}
for what, (mine, theirs) in found.items():
    print(f"{what}: tokenizers {ascii(mine)}, unicodedata {ascii(theirs)}")
assert all(mine != theirs for mine, theirs in found.values()), "the tables are newer now"
PY
echo "as described"
