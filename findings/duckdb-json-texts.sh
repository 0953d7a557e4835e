#!/usr/bin/env bash
# Date:     2026-11-27
# Version:  duckdb 2.0.1 (Python package), Python 3.11
# Input:    valid JSON Lines whose `answer` is a text in every row but one, where it is the number 18; and files whose texts
#           look like dates.
# Expected: the texts as they stand in the file ("007" reads 007), because only quoted JSON values are texts; or an error.
# Seen:     (1) one number among texts makes the column JSON, and then the texts keep their quotation marks: 18, "007", "12.50"
#           where a file of texts alone gives 007, 12.50. (2) Texts that all look like dates, times or UUIDs become DATE, TIME and
#           UUID although they are quoted. (A column that first appears after the 20,480 rows of the sample is an error, as it
#           should be.)
# Why it matters: one answer that somebody wrote as a number puts quotation marks around all others, and a fine-tuning file made
#           from DuckDB's output teaches them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "duckdb==2.0.1"
venv/bin/python - <<'PY'
import json

import duckdb


def read(rows):
    with open("rows.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    found = duckdb.sql("SELECT * FROM 'rows.jsonl'")
    return found.columns, [str(kind) for kind in found.types], found.fetchall()


texts = read([{"answer": "007"}, {"answer": "12.50"}])
mixed = read([{"answer": 18}, {"answer": "007"}, {"answer": "12.50"}])
dates = read([{"answer": "2024-01-02"}, {"answer": "2024-03-04"}])
print("texts alone:", texts)
print("one number: ", mixed)
print("dates:      ", dates)
assert texts[2] == [("007",), ("12.50",)]
assert mixed[1] == ["JSON"] and mixed[2] == [("18",), ('"007"',), ('"12.50"',)], "texts no longer keep their quotation marks"
assert dates[1] == ["DATE"], "texts stay texts now"
PY
echo "as described"
