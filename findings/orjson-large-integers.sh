#!/usr/bin/env bash
# Date:     2026-11-27
# Version:  orjson 3.13.0, msgspec 0.22.0, Python 3.11
# Input:    the JSON list [100000000000000000000, -0, 12.50]: an answer of 10 to the power of 20, as math problems have them.
# Expected: the integer as Python's json gives it (100000000000000000000), or an error that says that it is too large.
# Seen:     orjson gives the float 1e+20 without a word, so that the text of the answer changes when it is written again
#           (1e+20 for 100000000000000000000); msgspec and the standard library keep the integer.
# Why it matters: a program that copies answers from one data set to another with orjson changes gold answers beyond 64 bits, and an
#           exact comparison of answers then fails on right ones.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "orjson==3.13.0" "msgspec==0.22.0"
venv/bin/python - <<'PY'
import json

import msgspec
import orjson

text = b"[100000000000000000000, -0, 12.50]"
found = {"json": json.loads(text), "msgspec": msgspec.json.decode(text), "orjson": orjson.loads(text)}
for name, values in found.items():
    print(f"{name:8}", values)
print("written again by orjson:", orjson.dumps(found["orjson"]).decode())
assert found["json"][0] == found["msgspec"][0] == 10**20 and isinstance(found["msgspec"][0], int)
assert isinstance(found["orjson"][0], float), "orjson keeps large integers, or refuses them"
PY
echo "as described"
