"""Running text: every usable line comes through letter for letter, in its document, and what is left out is counted."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from lilift.data.texts.contamination import HeldOut
from lilift.data.texts.monolingual import BYTES_PER_TOKEN, DocumentFile, as_text, load_monolingual
from lilift.recipe.errors import DataError

TEXT = "Mtoto anasoma.\nBaba analima shamba.\r\n\n\n  Mama ana ng’ombe 3.  \nMtoto anasoma.\n1234 – 56\nЭто не то.\n"


def test_lines_stay_as_they_are_in_their_documents(tmp_path: Path) -> None:
    (tmp_path / "sw.txt").write_text(TEXT, encoding="utf-8")
    documents, report = load_monolingual(str(tmp_path / "sw.txt"), "sw")
    assert documents == [["Mtoto anasoma.", "Baba analima shamba."], ["Mama ana ng’ombe 3."]]
    assert (report.read, report.kept, report.documents, report.whole) == (6, 3, 2, True)
    assert report.dropped == {"repeated": 1, "wrong script": 2}
    (tmp_path / "kept.txt").write_text(as_text(documents), encoding="utf-8")
    assert list(DocumentFile(tmp_path / "kept.txt")) == documents


def test_lines_of_a_benchmark_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "sw.txt").write_text(TEXT, encoding="utf-8")
    held_out = HeldOut({"own": ["baba analima SHAMBA"]})
    documents, report = load_monolingual(str(tmp_path / "sw.txt"), "sw", held_out=held_out)
    assert ["Mtoto anasoma."] in documents
    assert report.dropped["in own"] == 1
    _, report = load_monolingual(str(tmp_path / "sw.txt"), "sw", held_out=held_out, drop_contaminated=False)
    assert report.kept == 3


def test_no_more_of_a_large_file_is_read_than_a_budget_needs(tmp_path: Path) -> None:
    lines = [f"sentensi ya {number}" for number in range(1000)]
    (tmp_path / "sw.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    documents, report = load_monolingual(str(tmp_path / "sw.txt.gz"), "sw", tokens=20)
    assert documents == [lines[: report.kept]]
    size = len("".join(documents[0]).encode())
    assert 20 * BYTES_PER_TOKEN <= size < 20 * BYTES_PER_TOKEN + 20
    assert not report.whole


@pytest.mark.parametrize(
    ("content", "words"), [("", "the file is empty"), ("123\nПривет\n", "wrong script 2"), (None, "cannot read")]
)
def test_a_file_without_text_is_named(content: str | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "sw.txt").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        load_monolingual(str(tmp_path / "sw.txt"), "sw")
