"""Makes lilift/evaluate/answers/number_customs.tsv: how each language writes numbers, from Unicode's CLDR.

python -m benchmarks number_customs_table           # needs: pip install babel
python -m benchmarks number_customs_table --check   # says whether the committed table is what this Babel gives

Babel (BSD-3-Clause) ships CLDR. lilift does not need it to run. A language without a CLDR locale has the customs of the
official language of its territory, such as Indonesian for Balinese. Real texts come before CLDR: `OVERRIDES` lists every such
change.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.shared.generated_table import write_or_check
from lilift.data.languages import languages

TABLE = Path(__file__).parents[2] / "lilift" / "evaluate" / "answers" / "number_customs.tsv"
COLUMNS = ("code", "locale", "decimal", "groups", "minus", "indian", "digits", "native_decimal", "native_group")
DEFAULT = "default"
"""Code of the row for a language that CLDR and this table do not know: CLDR's root."""

ZEROS = {
    "arab": "٠",
    "arabext": "۰",
    "beng": "০",
    "deva": "०",
    "latn": "0",
    "mtei": "꯰",
    "mymr": "၀",
    "nkoo": "߀",
    "olck": "᱐",
    "tibt": "༠",
}
"""CLDR's names of numbering systems → their digit 0. Babel has the names alone. The digits 1 to 9 follow in Unicode."""
SPACES = {"\u00a0": "nbsp", "\u202f": "nnbsp"}
"""Names that the table uses for spaces which an editor does not show."""
_INVISIBLE = dict.fromkeys(map(ord, "\u061c\u200e\u200f"))  # marks of the direction of writing; `plain_text` removes them too


class Override(NamedTuple):
    """A change to CLDR's customs, because real texts are written in another way.

    Attributes:
        column: column of the table.
        value: what it holds instead.
        reason: what the texts show, and where.
    """

    column: str
    value: str
    reason: str


OVERRIDES = {
    "es": Override(
        "groups",
        ". nbsp",
        "MGSM's Spanish problems write 23 786 and 50 000 with spaces, as the Ortografía of 2010 asks; MMWP's write 1.050",
    ),
}


def rows() -> Iterator[str]:
    """The lines of the table."""
    from babel import Locale
    from babel.core import get_cldr_version

    made_from = f"Babel {version('babel')} (CLDR {get_cldr_version()})"
    yield f"# Made by `python -m benchmarks number_customs_table` from {made_from}; do not edit"
    yield "\t".join(COLUMNS)
    yield "\t".join(_customs(DEFAULT, Locale("en")).values())
    for code in languages():
        locale = own_locale(code) or _locale_of_territory(code)
        if locale is None:
            continue
        customs = _customs(code, locale)
        if code in OVERRIDES:
            customs[OVERRIDES[code].column] = OVERRIDES[code].value
        yield "\t".join(customs.values())


def own_locale(code: str) -> Any:
    """Babel's locale of a language of lilift's table, or None if CLDR has no customs of this language."""
    from babel import Locale, UnknownLocaleError

    try:
        return Locale.parse(code.replace("-", "_"))
    except UnknownLocaleError:
        return None


def _locale_of_territory(code: str) -> Any:
    """The locale of the first official language, where CLDR has one, of the territory that CLDR thinks of for a language."""
    from babel import Locale, UnknownLocaleError
    from babel.core import get_global
    from babel.languages import get_official_languages

    language, _, part = code.partition("-")
    likely = get_global("likely_subtags").get(language, "").split("_")[-1]
    territory = part if len(part) == 2 else likely
    for official in get_official_languages(territory, de_facto=True) if territory else ():
        try:
            return Locale.parse(f"{official}_{territory}")
        except UnknownLocaleError:
            continue
    return None


def _customs(code: str, locale: Any) -> dict[str, str]:
    """One row of the table, by column."""
    symbols = locale.number_symbols
    system = locale.default_numbering_system
    native = symbols[system] if system != "latn" else {}
    marks = (
        symbols["latn"]["decimal"],
        symbols["latn"]["group"],
        symbols["latn"]["minusSign"].translate(_INVISIBLE),
        "yes" if locale.decimal_formats[None].grouping == (3, 2) else "",
        "".join(chr(ord(ZEROS[system]) + digit) for digit in range(10)) if system != "latn" else "",
        native.get("decimal", ""),
        native.get("group", ""),
    )
    return dict(zip(COLUMNS, (code, str(locale), *(SPACES.get(mark, mark) for mark in marks)), strict=True))


def main() -> int:
    return write_or_check(__doc__.partition("\n")[0], TABLE, rows)


if __name__ == "__main__":
    raise SystemExit(main())
