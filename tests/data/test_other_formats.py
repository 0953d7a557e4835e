"""Files of other programs in place of a text: each kind of reader names what the file is, and what to do."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lilift.data.lexicons.lexicon_folder import import_lexicon
from lilift.data.rows.row_files import open_rows
from lilift.data.text_files import read_lines
from lilift.recipe.errors import DataError
from lilift.recipe.schema import InstructionSettings

SHEET = "the file is a spreadsheet, which lilift does not read; save the sheet as CSV in UTF-8"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512)


def archive(path: Path, *names: str, mimetype: str = "") -> None:
    with zipfile.ZipFile(path, "w") as file:
        if mimetype:
            file.writestr("mimetype", mimetype)
        for name in names:
            file.writestr(name, "<x/>")


READERS: dict[str, Callable[[Path], object]] = {
    "dictionary": lambda path: import_lexicon(path, "sw"),
    "exercises": lambda path: list(open_rows(InstructionSettings(source=str(path))).read()),
    "running text": lambda path: list(read_lines(path, recode=True)),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["words.xlsx", "words.csv"])
def test_every_reader_says_that_a_spreadsheet_is_one(tmp_path: Path, reader: str, name: str) -> None:
    archive(tmp_path / name, "[Content_Types].xml", "xl/workbook.xml")
    with pytest.raises(DataError, match=SHEET):
        READERS[reader](tmp_path / name)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("words.ods", lambda path: archive(path, mimetype="application/vnd.oasis.opendocument.spreadsheet"), SHEET),
        ("words.numbers", lambda path: archive(path, "Index/Document.iwa"), SHEET),
        (
            "words.docx",
            lambda path: archive(path, "[Content_Types].xml", "word/document.xml"),
            "a document of a word processor",
        ),
        ("words.xls", lambda path: path.write_bytes(OLE), "older office program, .*save it as CSV"),
        ("words.pdf", lambda path: path.write_bytes(b"%PDF-1.7 ..."), "is a PDF"),
        ("words.db", lambda path: path.write_bytes(b"SQLite format 3\x00..."), "is a database"),
        (
            "words.ifo",
            lambda path: path.write_bytes(b"StarDict's dict ifo file\nversion=2.4.2\n"),
            "pyglossary words.ifo words.txt",
        ),
        ("words.zip", lambda path: archive(path, "words.tsv"), "the archive has no Swadesh list of Swahili"),
    ],
)
def test_a_dictionary_of_another_program_says_how_to_convert_it(
    tmp_path: Path, name: str, make: Callable[[Path], object], message: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(DataError, match=message):
        import_lexicon(tmp_path / name, "sw")


def test_the_parts_of_a_stardict_dictionary_name_its_main_file(tmp_path: Path) -> None:
    (tmp_path / "big.ifo").write_bytes(b"StarDict's dict ifo file\n")
    for name in ("big.idx", "big.dict", "big.dict.dz"):
        (tmp_path / name).write_bytes(b"\x1f\x8b...")
        with pytest.raises(DataError, match=r"`pyglossary big\.ifo words\.txt`"):
            import_lexicon(tmp_path / name, "sw")


def test_a_text_may_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "words.doc").write_text("water\tmaji\n", encoding="utf-8")
    (tmp_path / "words.dict").write_text("water\tmaji\n", encoding="utf-8")
    assert [import_lexicon(tmp_path / name, "sw").pairs for name in ("words.doc", "words.dict")] == [1, 1]
