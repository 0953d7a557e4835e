#!/usr/bin/env bash
# Date:     2026-11-27
# Version:  pandas 3.1.1, numpy 2.4.6, Python 3.11
# Input:    a table of one row whose question holds a carriage return ("a\rb"), as texts copied from web forms and old programs do.
# Expected: to_csv quotes the cell, as it quotes one with a line feed, so that read_csv gives the row back.
# Seen:     to_csv writes the carriage return without quotes, and read_csv, which takes it for the end of a row, gives two rows:
#           "a" without a response, and "b" with the response of the first. Python's csv module quotes the cell.
# Why it matters: questions are cut and responses move to other questions, in a file that the same library wrote and reads without an
#           error; trained on, such rows teach the wrong answer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "pandas==3.1.1" "numpy==2.4.6"
venv/bin/python - <<'PY'
import csv
import io

import pandas

table = pandas.DataFrame({"question": ["a\rb"], "response": ["x"]})
written = table.to_csv(index=False)
read = pandas.read_csv(io.StringIO(written))
standard = io.StringIO()
csv.writer(standard).writerow(["a\rb", "x"])
print("pandas writes:", repr(written))
print("pandas reads: ", read.values.tolist())
print("csv writes:   ", repr(standard.getvalue()))
assert '"' in standard.getvalue()
assert '"' not in written and len(read) == 2, "a carriage return survives now"
PY
echo "as described"
