"""From what a recipe says about a language's lexicon to the lexicon itself: a file, a folder of them, or ``world``.

In a folder, lilift looks for `FILE_NAMES` in this order: what `lilift lexicon` writes, then names that publishers use. Then it
takes a file that has the language in its name in any other spelling: ``swahili.txt``, ``en-swa.txt``, ``sw-en.txt``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from lilift.data.languages import language, languages
from lilift.data.lexicons.dictionary_files import read_dictionary
from lilift.data.lexicons.lexicon import NOT_STATED, Lexicon, build_lexicon
from lilift.data.lexicons.lexicon_table import MAGIC, SUFFIX, read_lexicon
from lilift.data.lexicons.pair_filters import DEFAULT_FILTERS, Filters
from lilift.data.lexicons.publishers import PUBLISHERS, sources_for
from lilift.data.world import lexicon_path
from lilift.recipe.errors import DataError
from lilift.recipe.names.language_names import read_language
from lilift.recipe.storage import sha256_of

_SUFFIXES = (SUFFIX, ".tsv", ".txt", ".csv", ".dict", ".jsonl", ".json")
FILE_NAMES = tuple(
    f"{stem}{suffix}{packed}"
    for stem in ("{code}", "en-{code}", "en_{code}")
    for suffix in _SUFFIXES
    for packed in (("",) if suffix == SUFFIX else ("", ".gz"))
)
"""Names of a language's lexicon in a folder of lexicons, the preferred one first."""
_SEPARATOR = re.compile(r"[-_.]")


def load_lexicon(location: str, code: str) -> Lexicon:
    """Read the lexicon of a language.

    Args:
        location: a lexicon that lilift wrote, a dictionary file (see `import_lexicon`), a folder of either, or ``world``.
        code: the language.

    Raises:
        DataError: unknown language, unreadable file, nothing in the folder for it, or nothing usable in the file.
    """
    code = language(code).code
    if location == "world":
        return import_lexicon(lexicon_path(code), code)
    path = Path(location).expanduser()
    if _is_folder(path):
        found = find_in_folder(path, code)
        if found is None:
            raise missing_lexicons(path, [code])
        path = found
    return read_lexicon(path, code) if _is_parquet(path) else import_lexicon(path, code)


def load_lexicons(locations: Mapping[str, str]) -> dict[str, Lexicon]:
    """Read the lexicons of several languages; those that a folder lacks are all named at once, before any is read.

    Args:
        locations: language → location, as `load_lexicon` takes it.

    Raises:
        DataError: see `load_lexicon`.
    """
    require_lexicons(locations)
    return {language(code).code: load_lexicon(location, code) for code, location in locations.items()}


def require_lexicons(locations: Mapping[str, str]) -> None:
    """Check that no folder lacks the lexicon of a language; nothing is read.

    Raises:
        DataError: one does, or a language is unknown.
    """
    missing: dict[str, list[str]] = {}
    for name, location in locations.items():
        code = language(name).code
        folder = Path(location).expanduser()
        if location != "world" and _is_folder(folder) and find_in_folder(folder, code) is None:
            missing.setdefault(location, []).append(code)
    for location, codes in missing.items():
        raise missing_lexicons(Path(location).expanduser(), codes)


def import_lexicon(
    path: Path,
    code: str,
    *,
    name: str | None = None,
    licence: str = NOT_STATED,
    origin: str | None = None,
    filters: Filters = DEFAULT_FILTERS,
) -> Lexicon:
    """Read a published dictionary: MUSE, GATITOS, Wiktionary, AfroMT, PanLex's archive, TSV, or a table of many languages.

    Args:
        path: the file.
        code: the language.
        name: short name of the source; from the file's name if left out.
        licence: of the content.
        origin: what to note as the place it comes from, such as the publisher's address; the path if left out.
        filters: what to keep where tastes differ.

    Raises:
        DataError: the file cannot be read, or nothing in it can be used.
    """
    known = language(code)
    dictionary = read_dictionary(path, known.code)
    lexicon = build_lexicon(
        dictionary.pairs,
        known,
        str(path),
        name=name or path.name.split(".")[0],
        licence=licence,
        filters=filters,
        turned=dictionary.turned,
    )
    # The sum comes last: a large file that is no dictionary is refused before it is read to its end.
    source = replace(lexicon.sources[0], location=origin or str(path), sha256=sha256_of(path))
    return replace(lexicon, sources=(source,))


def find_in_folder(folder: Path, code: str) -> Path | None:
    """The lexicon of a language in a folder of lexicons, or None if it has none.

    Raises:
        DataError: several files have the language in their name, none of them under a name of `FILE_NAMES`.
    """
    known = language(code).code
    candidates = (folder / name.replace("{code}", known) for name in FILE_NAMES)
    exact = next((path for path in candidates if path.is_file()), None)
    if exact is not None:
        return exact
    found = [path for path in _lexicon_files(folder) if _language_in_name(path) == known]
    if len(found) > 1:
        raise DataError(
            f"several files may be the lexicon of {language(known).name} ({known}): {', '.join(path.name for path in found)}",
            where=folder,
            remedy=f"rename the right one to {known}{''.join(found[0].suffixes)}",
        )
    return found[0] if found else None


def _lexicon_files(folder: Path) -> list[Path]:
    """Files whose names end as those of lexicons."""
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir() if path.name.lower().removesuffix(".gz").endswith(_SUFFIXES) and path.is_file()
    )


def _language_in_name(path: Path) -> str | None:
    """The code of the language that a file's name has, alone or beside English on either side; None if it has none."""
    stem = path.name.lower().removesuffix(".gz").rpartition(".")[0]
    for separator in _SEPARATOR.finditer(stem):
        one, other = read_language(stem[: separator.start()]), read_language(stem[separator.end() :])
        if one and other and "en" in (one.code, other.code):
            return other.code if one.code == "en" else one.code
    alone = read_language(stem)
    return alone.code if alone and alone.code != "en" else None


def languages_in(path: Path) -> list[str]:
    """The languages of a lexicon that lilift wrote, or of a folder of lexicons.

    Raises:
        DataError: there is no such place, it has no lexicon, or it is a file that does not say its language.
    """
    if path.is_dir():
        named = {found for file in _lexicon_files(path) if (found := _language_in_name(file))}
        codes = [code for code in languages() if code in named]
        if not codes:
            raise DataError("has no lexicon", where=path, remedy=f"put one there as LANGUAGE{SUFFIX} or en-LANGUAGE.txt")
        return codes
    if _is_parquet(path):
        return [read_lexicon(path).language.code]
    if not path.exists():
        raise DataError("no such file or folder", where=path)
    code = _language_in_name(path)
    if code is not None:
        return [code]
    raise DataError("the file does not say its language", where=path, remedy="name it with --language")


def missing_lexicons(folder: Path, codes: Iterable[str]) -> DataError:
    """What to say where a folder lacks the lexicons of some languages."""
    wanted = list(codes)
    listed = ", ".join(f"{language(code).name} ({code})" for code in wanted)
    return DataError(
        f"has no lexicon of {listed}",
        where=folder,
        remedy=f"put one there for each, such as {wanted[0]}{SUFFIX} or en-{wanted[0]}.txt{_where_to_get(folder, wanted)}",
    )


def _where_to_get(folder: Path, codes: list[str]) -> str:
    """The command that fetches what publishers have, and which languages none of them has."""
    offers = {code: sources_for(code) for code in codes}
    offered = [code for code in codes if offers[code]]
    none = [code for code in codes if not offers[code]]
    text = ""
    if offered:
        names = [name for name in PUBLISHERS if any(name in offers[code] for code in offered)]
        command = f"lilift lexicon fetch {','.join(names)} --languages {','.join(offered)} --into {folder}"
        text += f"; `{command}` downloads published ones"
    if none:
        text += f"; for {', '.join(none)} see `lilift lexicon induce --help`"
    return text


def _is_folder(path: Path) -> bool:
    """Whether a path is a folder, or would be one if it were there: it has no suffix."""
    return path.is_dir() or not (path.suffix or path.exists())


def _is_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC or path.suffix == SUFFIX
    except OSError:
        return False  # whoever reads it says why it cannot be read
