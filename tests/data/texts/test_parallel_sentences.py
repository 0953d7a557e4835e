"""Parallel sentences from files of others, and what makes them not parallel."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from lilift.data.texts.parallel_sentences import parallel_sentences
from lilift.recipe.errors import DataError


def table(folder: Path, name: str, rows: list[tuple[str, str]]) -> None:
    text = "split\tindex_id\tcategory\ttext\n" + "".join(f"train\t{one}\tx\t{said}\n" for one, said in rows)
    (folder / name).write_bytes(gzip.compress(text.encode(), mtime=0) if name.endswith(".gz") else text.encode())


def test_tables_and_plain_lines_are_read(tmp_path: Path) -> None:
    table(tmp_path, "en.tsv.gz", [("7", "One."), ("9", "Two.")])
    table(tmp_path, "sw.tsv", [("7", "Moja."), ("9", "Mbili.")])
    assert parallel_sentences(str(tmp_path), ["en", "sw"]) == {"en": ["One.", "Two."], "sw": ["Moja.", "Mbili."]}
    assert parallel_sentences(str(tmp_path), ["en", "sw"], limit=1)["sw"] == ["Moja."]
    (tmp_path / "flores").mkdir()
    for name, text in (("eng_Latn.devtest", "One.\nTwo.\n"), ("swh_Latn.devtest", "Moja.\nMbili.\n")):
        (tmp_path / "flores" / name).write_text(text, encoding="utf-8")
    assert parallel_sentences(str(tmp_path / "flores"), ["en", "sw"])["sw"] == ["Moja.", "Mbili."]


def test_a_file_is_found_by_any_spelling_of_its_language(tmp_path: Path) -> None:
    for name, text in (("English.txt", "One.\n"), ("swa.txt", "Moja.\n"), ("zho_Hans.dev", "一。\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert parallel_sentences(str(tmp_path), ["en", "sw", "zh"]) == {"en": ["One."], "sw": ["Moja."], "zh": ["一。"]}


def test_the_world_says_the_same_in_every_language() -> None:
    found = parallel_sentences("world", ["en", "om"], limit=5)
    assert [len(texts) for texts in found.values()] == [5, 5]
    digits = [[sorted(filter(str.isdigit, text)) for text in texts] for texts in found.values()]
    assert digits[0] == digits[1]


def test_what_is_not_parallel_is_one_line(tmp_path: Path) -> None:
    table(tmp_path, "en.tsv", [("7", "One."), ("9", "Two.")])
    table(tmp_path, "sw.tsv", [("9", "Mbili."), ("7", "Moja.")])
    table(tmp_path, "de.tsv", [("7", "Eins.")])
    table(tmp_path, "fr.tsv", [("7", "Un."), ("9", " ")])
    for code, words in (
        ("sw", "row 1 has the id '9' in 'sw' but '7' in 'en'"),
        ("de", "1 sentences in 'de' but 2 in 'en'"),
        ("fr", "the sentence 9 is empty"),
        ("bn", "no sentences in 'bn'"),
    ):
        with pytest.raises(DataError, match=words):
            parallel_sentences(str(tmp_path), ["en", code])
    with pytest.raises(DataError, match="no such folder"):
        parallel_sentences(str(tmp_path / "nowhere"), ["en", "sw"])


def test_real_files_are_parallel_in_all_48_languages(shared_data: Path) -> None:
    folder = shared_data / "sib200_flores_parallel"
    codes = [path.name.split(".")[0] for path in sorted(folder.glob("*.tsv.gz"))]
    found = parallel_sentences(str(folder), codes)
    assert len(found) == 48
    assert {len(texts) for texts in found.values()} == {1004}
