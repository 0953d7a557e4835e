#!/usr/bin/env bash
# Date:     2026-11-27
# Version:  math-verify 0.9.0, Python 3.11
# Input:    the gold answer `$c < a < b$` of PolyMath (level medium, row 8) and the answer b > a > c, which says the same.
# Expected: right, because `x < 2` and `2 > x` count as equal.
# Seen:     wrong: math-verify knows that x < 2 is 2 > x, but not that 1 < x < 2 is 2 > x > 1.
# Why it matters: whether a model is right depends on the side from which it writes a range, and an order of three values is a common
#           answer of school problems.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "math-verify==0.9.0"
venv/bin/python - <<'PY'
from math_verify import parse, verify


def equal(gold: str, answer: str) -> bool:
    found = verify(parse(gold), parse(answer))
    print(gold, answer, found)
    return found


assert equal("$x < 2$", r"\boxed{2 > x}")
assert equal("$c < a < b$", r"\boxed{c < a < b}")
assert not equal("$c < a < b$", r"\boxed{b > a > c}"), "math-verify turns chained inequalities round"
assert not equal("$1 < x < 2$", r"\boxed{2 > x > 1}")
PY
echo "as described"
