"""A language's lexicon is found in a folder under every usual name, and two that may be it are not guessed between."""

from __future__ import annotations

from pathlib import Path

import pytest

from lilift.data.lexicons.lexicon_folder import FILE_NAMES, find_in_folder, languages_in, load_lexicon, load_lexicons
from lilift.recipe.errors import DataError

NAMES = (
    "sw.txt en-sw.tsv en_sw.txt.gz swahili.txt Swahili.tsv en-swa.txt en_swh.dict eng-swh.txt english-swahili.csv swh_Latn.txt "
    "eng_Latn-swh_Latn.tsv SW.txt en-Sw.txt sw-en.txt swahili_english.txt Kiswahili.txt en.sw.txt SWAHILI.TXT"
)


@pytest.mark.parametrize("name", NAMES.split())
def test_a_file_is_found_by_any_spelling_of_its_language(tmp_path: Path, name: str) -> None:
    for other in ("README.txt", "en-bn.txt", "notes.tsv", "my-words.txt"):
        (tmp_path / other).write_text("water\tx\n", encoding="utf-8")
    (tmp_path / name).write_text("water\tmaji\n", encoding="utf-8")
    assert find_in_folder(tmp_path, "sw") == tmp_path / name
    assert languages_in(tmp_path) == ["bn", "sw"]
    assert load_lexicon(str(tmp_path), "Swahili").pairs == 1
    assert list(load_lexicons({"swh": str(tmp_path)})) == ["sw"]


def test_a_single_file_says_its_language_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "en-swa.txt").write_text("water\tmaji\n", encoding="utf-8")
    assert languages_in(tmp_path / "en-swa.txt") == ["sw"]
    (tmp_path / "words.txt").write_text("water\tmaji\n", encoding="utf-8")
    with pytest.raises(DataError, match="does not say its language"):
        languages_in(tmp_path / "words.txt")


def test_two_files_that_may_be_it_are_not_guessed_between(tmp_path: Path) -> None:
    for name in ("swahili.txt", "en-swa.txt"):
        (tmp_path / name).write_text("water\tmaji\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"several files may be the lexicon of Swahili \(sw\): en-swa\.txt, swahili\.txt"):
        find_in_folder(tmp_path, "sw")
    (tmp_path / FILE_NAMES[1].replace("{code}", "sw")).write_text("water\tmaji\n", encoding="utf-8")
    assert find_in_folder(tmp_path, "sw") == tmp_path / "sw.tsv"  # lilift's own names come first


def test_a_language_of_the_wrong_kind_is_not_found(tmp_path: Path) -> None:
    for name in ("en.txt", "en-de.txt", "sr-Latn.txt", "kurdish.txt"):
        (tmp_path / name).write_text("water\tx\n", encoding="utf-8")
    assert languages_in(tmp_path) == ["de"]
