"""Makes lilift/recipe/names/language_names.tsv: the usual codes and names of each language, and what each country speaks.

python -m benchmarks language_names_table           # needs: pip install babel langcodes language_data
python -m benchmarks language_names_table --check   # says whether the committed table is what these packages give

Names and countries come from Babel (BSD-3-Clause), which ships Unicode's CLDR; ISO 639-2 and 639-3 codes come from langcodes
(MIT). Neither is needed to run lilift. What both get wrong or leave out is decided by hand in close_codes.tsv.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from benchmarks.shared.generated_table import write_or_check
from lilift.data.languages import languages

TABLE = Path(__file__).parents[2] / "lilift" / "recipe" / "names" / "language_names.tsv"
_MOST = 4
"""Languages that are listed for a country, the most spoken first; where some are official, those alone."""
_LEAST_PERCENT = 10.0


def rows() -> Iterator[str]:
    """The lines of the table."""
    from babel import Locale
    from babel.core import get_global

    english = Locale("en")
    yield (
        f"# Made by `python -m benchmarks language_names_table` from Babel {version('babel')} (CLDR) and langcodes "
        f"{version('langcodes')}; do not edit"
    )
    yield "kind\tcode\talso\tnames\tscripts"
    for code, known in languages().items():
        also = {known.flores.split("_")[0]} if known.flores else set()
        if "-" not in code:
            also |= _three_letters(code)
        names = [known.name, *_names_of(code)]
        distinct = list(dict.fromkeys(name for name in names if name))
        yield f"language\t{code}\t{' '.join(sorted(also - {code}))}\t{'|'.join(distinct)}\t{','.join(known.scripts)}"
    for territory, spoken in sorted(get_global("territory_languages").items()):
        known_there = [
            (-1 if figures["official_status"] in ("official", "de_facto_official") else 0, -figures["population_percent"], code)
            for name, figures in spoken.items()
            if (code := _code_of(name)) and code != "en" and _matters(figures)
        ]
        official = [found for found in known_there if found[0] < 0] or known_there
        codes = [code for *_, code in sorted(official)][:_MOST]
        if codes:
            yield f"country\t{territory.lower()}\t{' '.join(codes)}\t{english.territories.get(territory, territory)}\t"
    others = {name: title for name, title in english.languages.items() if _code_of(name) is None and len(name) <= 3}
    for name, title in sorted(others.items()):
        yield f"other\t{name}\t\t{title}\t"


def _matters(figures: dict[str, object]) -> bool:
    return (
        figures["official_status"] in ("official", "de_facto_official")
        or float(str(figures["population_percent"])) >= _LEAST_PERCENT
    )


def _code_of(name: str) -> str | None:
    """lilift's code of a language as CLDR writes it."""
    written = name.replace("_", "-")
    aliases = {"fil": "tl", "no": "nb", "zh-Hant": "zh", "ary": "ar-MA"}
    written = aliases.get(written, written)
    return written if written in languages() else None


def _names_of(code: str) -> Iterator[str]:
    from babel import Locale, UnknownLocaleError

    written = code.replace("-", "_")
    english = Locale("en").languages
    yield english.get(written, "")
    if "-" in code:
        return
    try:
        yield Locale.parse(written).languages.get(code, "")
    except (UnknownLocaleError, ValueError):
        return


def _three_letters(code: str) -> set[str]:
    """ISO 639-3 and the bibliographic code of ISO 639-2."""
    import langcodes

    if code == "tl":  # langcodes 3.5.1 turns `tl` into `fil` on the way
        return {"tgl"}
    try:
        known = langcodes.get(code, normalize=False)
        return {known.to_alpha3(), known.to_alpha3(variant="B")}
    except LookupError:
        return set()


def main() -> int:
    return write_or_check(__doc__.partition("\n")[0], TABLE, rows)


if __name__ == "__main__":
    raise SystemExit(main())
