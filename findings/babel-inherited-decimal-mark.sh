#!/usr/bin/env bash
# Date:     2026-11-27
# Version:  Babel 2.19.0 (CLDR 49) and 2.18.0 (CLDR 47), Python 3.11
# Input:    format_decimal(1050.5) in languages that Babel has a locale for, and in the official language of their territory.
# Expected: a language with a locale has number marks of its own: Occitan, Lombard and Silesian a decimal comma, as French,
#           Italian and Polish have and as their texts are written.
# Seen:     Babel writes them in the English way, 1,050.5. Their locale files hold no number marks, so the root's show through, and
#           nothing in Babel's interface says so. Sicilian had the same "1,050.5" in 2.18.0 and has 1.050,5 in 2.19.0.
# Why it matters: a reader or writer of numbers that trusts a locale because it exists reads 1.050 as a little more than one in these
#           languages, and an update of Babel changes the numbers of others by a factor of a thousand.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
show() {
    venv/bin/pip install --quiet --disable-pip-version-check "$1"
    venv/bin/python - "$1" <<'PY'
import sys

from babel.numbers import format_decimal

version = sys.argv[1].removeprefix("babel==")
now = {name: format_decimal("1050.5", locale=name) for name in ("fr", "oc", "it", "lmo", "scn", "pl", "szl")}
print(version, {name: text.replace("\u202f", " ").replace("\xa0", " ") for name, text in now.items()})
assert all(now[name].endswith(",5") for name in ("fr", "it", "pl"))
assert all(now[name] == "1,050.5" for name in ("oc", "lmo", "szl")), "these locales have marks of their own now"
assert now["scn"] == {"2.18.0": "1,050.5", "2.19.0": "1.050,5"}[version]
PY
}
show babel==2.18.0
show babel==2.19.0
echo "as described"
