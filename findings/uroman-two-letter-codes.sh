#!/usr/bin/env bash
# Date:     2026-11-28
# Version:  uroman 1.3.1.1, Python 3.11
# Input:    the name of Kyiv in Ukrainian, romanised with the language code "uk" (BCP 47), "ukr" (ISO 639-3) and without a code.
# Expected: "uk" and "ukr" both mean Ukrainian; or an unknown code is refused.
# Seen:     "ukr" gives Kyiv. "uk" gives Kiyiv, the same as without a code: uroman knows ISO 639-3 codes only, and says nothing
#           about a code that it does not know.
# Why it matters: most data sets name languages by two letters. Whoever passes them on gets the rules of the script alone, without
#           the language's own rules, in Ukrainian, Belarusian, Bulgarian, Macedonian, Persian and others.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "uroman==1.3.1.1"
venv/bin/python - <<'PY'
from uroman import Uroman

romaniser = Uroman()
found = {code: romaniser.romanize_string("Київ", lcode=code) for code in ("uk", "ukr", None)}
for code, text in found.items():
    print(f"lcode={code!r}: {text}")
assert found == {"uk": "Kiyiv", "ukr": "Kyiv", None: "Kiyiv"}, "two-letter codes are known now"
PY
echo "as described"
