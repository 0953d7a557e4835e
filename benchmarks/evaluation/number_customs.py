"""Measures how many numbers lilift reads back as each language writes them by Unicode's CLDR; the goal is 99.5%.

python -m benchmarks number_customs --check   # needs: pip install babel

Babel writes 40 values in every language of lilift's table that CLDR has: grouped and ungrouped integers, decimals, negative
numbers and zero. Where the language has digits of its own by default, they replace the ASCII digits, because Babel never writes
them. A number counts as read if `find_numbers` finds it alone and `extract_number` returns it.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

from benchmarks.evaluation.number_customs_table import ZEROS, own_locale
from benchmarks.shared.result_files import keep, report_goals
from lilift.data.languages import languages
from lilift.evaluate.answers.extraction import extract_number
from lilift.evaluate.answers.number_formats import find_numbers
from lilift.evaluate.answers.plain_text import plain_text

GOALS = {"read back, %": ("at least", 99.5), "read back with ASCII digits, %": ("at least", 99.5)}
GROUPED = """
    0 7 12 100 999 1000 1050 1234 2125 9999 10000 12345 80000 100000 150000 712261 1000000 1234567 12345678
    0.5 0.7 0.125 1.5 3.25 3.333 1.234 12.345 1050.5 2584.75 123456.789 1234567.8
    -5 -1050 -3.5 -0.125 -1234567
"""
UNGROUPED = "1050 12345 1234567 2584.75"


def values() -> Iterator[tuple[Decimal, bool]]:
    """Each value, and whether its digits are grouped."""
    yield from ((Decimal(value), True) for value in GROUPED.split())
    yield from ((Decimal(value), False) for value in UNGROUPED.split())


def written(code: str, *, native: bool = True) -> Iterator[tuple[Decimal, str]]:
    """Each value and its text in a language that CLDR has, with the default digits of the language or with ASCII digits."""
    from babel.numbers import format_decimal

    locale = own_locale(code)
    system = locale.default_numbering_system if native else "latn"
    digits = {ord("0") + digit: chr(ord(ZEROS[system]) + digit) for digit in range(10)}
    for value, grouped in values():
        text = format_decimal(value, locale=locale, group_separator=grouped, numbering_system=system)
        yield value, text.translate(digits)


def is_read(text: str, language: str, value: Decimal) -> bool:
    """Whether lilift finds this number and no other."""
    found = [number.value for number in find_numbers(plain_text(text), language)]
    return found == [value] and extract_number(text, language) == value


def main() -> int:
    from babel.core import get_cldr_version

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    parser.add_argument("--output", type=Path, help="write the results here instead of benchmarks/results")
    arguments = parser.parse_args()
    codes = [code for code in languages() if own_locale(code) is not None]
    read: Counter[bool] = Counter()
    unread = defaultdict(list)
    for native in (True, False):
        for code in codes:
            for value, text in written(code, native=native):
                right = is_read(text, code, value)
                read[native] += right
                if not right and f"{text} ({value})" not in unread[code]:
                    unread[code].append(f"{text} ({value})")
    total = len(codes) * sum(1 for _ in values())
    found = {
        "read back, %": 100 * read[True] / total,
        "read back with ASCII digits, %": 100 * read[False] / total,
    }
    versions = {"babel": version("babel"), "cldr": get_cldr_version()}
    counts = {"languages": len(codes), "numbers": total, "read back": read[True], "read back with ASCII digits": read[False]}
    keep("number_customs", {**versions, "goals": GOALS, "summary": found, **counts, "unread": unread}, arguments.output)
    met = report_goals(found, GOALS)
    print(f"{read[True]} of {total} numbers in {len(codes)} languages; unread: {dict(unread)}")
    return 0 if met or not arguments.check else 1


if __name__ == "__main__":
    raise SystemExit(main())
