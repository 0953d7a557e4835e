"""Recognises files of other programs that people give in place of a text file, and says how to make a text file of them."""

from __future__ import annotations

import zipfile
from pathlib import Path

from lilift.recipe.errors import DataError

_SPREADSHEET = ("a spreadsheet", "save the sheet as CSV in UTF-8")
_DOCUMENT = ("a document of a word processor", "save its text or table as CSV or plain text in UTF-8")
_BY_NAME = {
    **dict.fromkeys((".xlsx", ".xlsm", ".xls", ".ods", ".numbers"), _SPREADSHEET),
    **dict.fromkeys((".docx", ".doc", ".odt", ".pages", ".rtf"), _DOCUMENT),
}
_STARDICT = ("a StarDict dictionary", "convert it with pyglossary (`pyglossary {ifo} words.txt`) and give words.txt")
_FIRST_BYTES = (
    (b"%PDF", ("a PDF", "copy its table into a spreadsheet, and save that as CSV in UTF-8")),
    (b"{\\rtf", _DOCUMENT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ("a file of an older office program", "save it as CSV in UTF-8")),
    (b"SQLite format 3\x00", ("a database", "export its table as CSV in UTF-8")),
    (b"StarDict's dict ifo file", _STARDICT),
)
_PARTS_OF_STARDICT = (".idx", ".dict", ".dz", ".syn")
# Folders in the zip archives that office programs write, and what OpenDocument files begin with.
_OFFICE_PARTS = {"xl": _SPREADSHEET, "word": _DOCUMENT, "Index": _SPREADSHEET}


def require_text_format(path: Path, *, by_name: bool = False) -> None:
    """Refuse a file of another program: a spreadsheet, a document, a PDF, a database, or a StarDict dictionary.

    Args:
        path: the file.
        by_name: its name is enough. Otherwise only its content counts, because a text may have any name.

    Raises:
        DataError: it is one.
    """
    found = _other_format(path) or (_BY_NAME.get(path.suffix.lower()) if by_name else None)
    if found is not None:
        what, remedy = found
        raise DataError(f"the file is {what}, which lilift does not read", where=path, remedy=remedy)


def _other_format(path: Path) -> tuple[str, str] | None:
    try:
        with path.open("rb") as file:
            first = file.read(64)
    except OSError:
        return None  # whoever reads it says why it cannot be read
    found = next((found for beginning, found in _FIRST_BYTES if first.startswith(beginning)), None)
    if found is None and first.startswith(b"PK\x03\x04"):
        found = _office_archive(path)
    ifo = path.with_name(path.name.removesuffix(".dz")).with_suffix(".ifo")
    if path.suffix.lower() in _PARTS_OF_STARDICT and ifo.is_file():
        found = _STARDICT
    return None if found is None else (found[0], found[1].format(ifo=ifo.name if found is _STARDICT else ""))


def _office_archive(path: Path) -> tuple[str, str] | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            kind = archive.read("mimetype")[:100] if "mimetype" in names else b""
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, ValueError, EOFError):
        return None
    if b"opendocument" in kind:
        return _SPREADSHEET if b"spreadsheet" in kind else _DOCUMENT
    if "[Content_Types].xml" not in names and not any(name.startswith("Index/") for name in names):
        return None
    return next((found for part, found in _OFFICE_PARTS.items() if any(name.startswith(f"{part}/") for name in names)), None)
