"""Read sentences that say the same in many languages. lilift measures alignment on them and never trains on them.

lilift generates the sentences of `world`. A folder holds one file for each language, named by its code, FLORES code or name:
FLORES' own plain text (a sentence a line: ``swh_Latn.devtest``, ``sw.txt``) or SIB-200's tables (``sw.tsv`` with the columns
``index_id`` and ``text``), gzipped or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lilift.data.languages import language
from lilift.data.text_files import read_lines
from lilift.data.world import WORLD_LANGUAGES, no_world_language, test_problems
from lilift.recipe.errors import DataError
from lilift.recipe.names.local_paths import file_spellings

WORLD_SENTENCES = 200
_SUFFIXES = (".tsv", ".txt", ".devtest", ".dev", "")


def parallel_sentences(
    source: str,
    languages: Sequence[str],
    *,
    limit: int | None = None,
    seed: int = 0,
    setting: str = "evaluate.alignment",
) -> dict[str, list[str]]:
    """The same sentences in each language, in the same order.

    Args:
        source: ``world``, or a folder.
        languages: codes.
        limit: read only this many sentences.
        seed: of the generated sentences of `world`.
        setting: names the source in errors.

    Raises:
        DataError: a language has no file, a file cannot be read, or the files do not hold the same sentences.
    """
    if source == "world":
        for code in languages:
            if code not in ("en", *WORLD_LANGUAGES):
                raise no_world_language(code, f"{setting}: world", "a folder with FLORES or SIB-200 files, or other languages")
        count = limit or WORLD_SENTENCES
        return {code: [problem.question for problem in test_problems(code, count, seed)] for code in languages}
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise DataError("no such folder of parallel sentences", where=folder, remedy="write `world`, or a folder's path")
    found = {code: _read(_file_of(folder, code)) for code in languages}
    first = next(iter(found))
    for code, rows in found.items():
        if len(rows) != len(found[first]):
            raise DataError(
                f"{len(rows)} sentences in {code!r} but {len(found[first])} in {first!r}: they are not parallel",
                where=folder,
                remedy="restore the files from their source",
            )
        ids = zip(rows, found[first], strict=True)
        odd = next((place for place, ((one, _), (other, _)) in enumerate(ids) if one != other), None)
        if odd is not None:
            raise DataError(
                f"row {odd + 1} has the id {rows[odd][0]!r} in {code!r} but {found[first][odd][0]!r} in {first!r}",
                where=folder,
                remedy="put the files into the same order",
            )
    return {code: [text for _, text in rows[:limit]] for code, rows in found.items()}


def _file_of(folder: Path, code: str) -> Path:
    names = [name for name in (code, language(code).flores) if name]
    for name in (*names, *file_spellings(code)):
        for suffix in _SUFFIXES:
            for packed in ("", ".gz"):
                path = folder / f"{name}{suffix}{packed}"
                if path.is_file():
                    return path
    raise DataError(f"no sentences in {code!r}: no {names[0]}.tsv or {names[-1]}.devtest", where=folder, remedy="add the file")


def _read(path: Path) -> list[tuple[str, str]]:
    """Id and text of each sentence; the line number is the id if the file has none."""
    lines = list(read_lines(path))
    if not lines:
        raise DataError("the file is empty", where=path, remedy="restore it from its source")
    columns = lines[0][1].split("\t")
    if "text" not in columns:
        rows = [(str(number), text.strip()) for number, text in lines]
    else:
        text_at, id_at = columns.index("text"), columns.index("index_id") if "index_id" in columns else None
        rows = []
        for number, line in lines[1:]:
            cells = line.split("\t")
            if len(cells) != len(columns):
                raise DataError(f"{len(cells)} columns instead of {len(columns)}", where=f"{path}:{number}")
            rows.append((str(number) if id_at is None else cells[id_at], cells[text_at].strip()))
    empty = next((identity for identity, text in rows if not text), None)
    if empty is not None:
        raise DataError(f"the sentence {empty} is empty", where=path, remedy="restore the file from its source")
    return rows
