#!/usr/bin/env bash
# Date:     2026-11-27
# Version:  math-verify 0.9.0, Python 3.11
# Input:    gold answers of math benchmarks that name a formula and then say where it holds, such as PolyMath's
#           `$P(x)=c(x^2+3)$ for any constant $c$` (level top, row 88).
# Expected: the gold is the first formula, or both formulas together, or an error.
# Seen:     `parse` keeps only the last formula: the gold is `c`. The right answer P(x)=c(x^2+3) is judged wrong, and the answer c
#           right. The same happens for `$18$ for 3 children`.
# Why it matters: evaluations and reinforcement learning that take math-verify as the judge reward a wrong answer and punish the
#           right one, for each gold with words after its formula, and nothing in the output shows it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "math-verify==0.9.0"
venv/bin/python - <<'PY'
from math_verify import parse, verify

cases = [
    (r"$P(x)=c(x^2+3)$ for any constant $c$", r"\boxed{P(x)=c(x^2+3)}", r"\boxed{c}"),
    (r"$3n-3$ for all $n > 1$", r"\boxed{3n-3}", r"\boxed{n > 1}"),
    (r"$18$ for 3 children", r"\boxed{18}", r"\boxed{3}"),
]
for gold, right, wrong in cases:
    parsed = parse(gold)
    judged = {answer: verify(parsed, parse(answer)) for answer in (right, wrong)}
    print(gold, "->", parsed, judged)
    assert judged == {right: False, wrong: True}, "math-verify reads more than the last formula"
PY
echo "as described"
