#!/usr/bin/env bash
# Date:     2026-11-27
# Version:  polars 2.1.0, Python 3.11
# Input:    a valid JSON Lines file: 150 rows with `question` and `response`, then 5 rows that also have `lang`.
# Expected: a column `lang` that is null in the first 150 rows, or an error that says that later rows do not fit.
# Seen:     `read_ndjson` and `scan_ndjson` infer the columns from the first 100 rows and drop `lang` everywhere, without an
#           error or a warning; the other 155 rows are complete, so that nothing looks wrong. `infer_schema_length=None` keeps it.
# Why it matters: data sets of several languages are often sorted, English first, and only later rows carry a language, an answer
#           or a licence. Whoever prepares such a file with polars loses that column for all rows.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "polars==2.1.0"
venv/bin/python - <<'PY'
import json

import polars

with open("rows.jsonl", "w", encoding="utf-8") as file:
    for number in range(155):
        row = {"question": f"q{number}", "response": f"r{number}"}
        if number >= 150:
            row["lang"] = "sw"
        file.write(json.dumps(row) + "\n")

eager, lazy = polars.read_ndjson("rows.jsonl"), polars.scan_ndjson("rows.jsonl").collect()
whole = polars.read_ndjson("rows.jsonl", infer_schema_length=None)
print("read_ndjson:", eager.shape, eager.columns)
print("scan_ndjson:", lazy.shape, lazy.columns)
print("read_ndjson, infer_schema_length=None:", whole.shape, whole.columns)
assert eager.columns == lazy.columns == ["question", "response"], "the late column is there now"
assert eager.height == lazy.height == 155
assert whole.columns == ["question", "response", "lang"] and whole["lang"].null_count() == 150
PY
echo "as described"
