"""Separators, lists and remarks in the lines of dictionaries: each is read as a careful reader would read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lilift.data.lexicons.lexicon_folder import import_lexicon

THREE = {"water": ["maji"], "house": ["nyumba"], "tree": ["mti"]}


def read(tmp_path: Path, text: str, code: str = "sw", name: str = "words.txt") -> dict[str, list[str]]:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return {word: [one.text for one in found] for word, found in import_lexicon(path, code).entries.items()}


@pytest.mark.parametrize(
    "text",
    [
        "water|maji\nhouse|nyumba\ntree|mti\n",
        "| English | Swahili |\n|---|---|\n| water | maji |\n| house | nyumba |\n| tree | mti |\n",
        "|water|maji|\n|:--|:--|\n|house|nyumba|\n|tree|mti|\n",
        "water --> maji\nhouse ==> nyumba\ntree->mti\n",
        "1. water - maji\n2. house - nyumba\n3. tree - mti\n",
        "1) water maji\n2) house nyumba\n3) tree mti\n",
        "1.\twater\tmaji\n2.\thouse\tnyumba\n3.\ttree\tmti\n",
        "- water: maji\n• house: nyumba\n* tree: mti\n",
        "0.93 water maji\n0.8 house nyumba\n1.0 tree mti\n",
        "water 0.93 maji\nhouse 0.8 nyumba\ntree 1.0 mti\n",
        "water = maji\nhouse,nyumba\ntree;mti\n",
        "English   Swahili\n-------   -------\nwater   maji\nhouse   nyumba\ntree   mti\n",
    ],
)
def test_three_words_in_many_forms(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == THREE


def test_one_line_of_two_words_among_tabs_is_no_pair_by_itself(tmp_path: Path) -> None:
    tabbed = 2 * "".join(f"{word}\tmaji\n" for word in ("rain", "wind", "fire", "hill", "milk", "salt"))
    assert "rock" not in read(tmp_path, tabbed + "rock,roll\n")


@pytest.mark.parametrize("mark", ["-", "*", "•"])
def test_signs_with_their_translation_are_no_bullets(tmp_path: Path, mark: str) -> None:
    assert read(tmp_path, f"{mark}\tdeshi\nwater\tmaji\n") == {"water": ["maji"]}


def test_verbs_and_notes_and_lists_of_english_words(tmp_path: Path) -> None:
    text = "to eat\tkula\nbank (river)\tukingo\nhouse, home\tnyumba\nParis, Texas\tParisi\ngood morning\thabari\n"
    assert read(tmp_path, text) == {"eat": ["kula"], "bank": ["ukingo"], "house": ["nyumba"], "home": ["nyumba"]}


def test_a_rare_to_is_part_of_a_phrase(tmp_path: Path) -> None:
    words = (f"{one}{two}{three}\tmaji\n" for one in "bdfghk" for two in "aeiou" for three in "lmnrst")
    assert "date" not in read(tmp_path, "to date\tleo\n" + "".join(words))


def test_english_verbs_on_the_right(tmp_path: Path) -> None:
    assert read(tmp_path, "kwenda\tto go\nkula\tto eat; to dine\n") == {"go": ["kwenda"], "eat": ["kula"], "dine": ["kula"]}


def test_wide_signs_of_chinese_and_japanese(tmp_path: Path) -> None:
    assert read(tmp_path, "house\t房子；屋（名）\ntree\t树，木\nbank\t【金融】银行\n", "zh") == {
        "house": ["房子", "屋"],
        "tree": ["树", "木"],
        "bank": ["银行"],
    }


@pytest.mark.parametrize("cell", ["N/A", "#REF!", "ma\x00ji", "ma\ufffdji"])
def test_what_is_no_translation_is_left_out(tmp_path: Path, cell: str) -> None:
    assert read(tmp_path, f"water\t{cell}\nhouse\tnyumba\n") == {"house": ["nyumba"]}


def test_a_quotation_mark_without_its_partner(tmp_path: Path) -> None:
    assert read(tmp_path, 'tree\tmti "mkubwa"\n') == {"tree": ["mti mkubwa"]}


@pytest.mark.parametrize(
    ("code", "text", "wanted"),
    [
        ("zh", "water\tshuǐ\t水\nhouse\tfángzi\t房子\n", {"water": ["水"], "house": ["房子"]}),
        ("zh", "水\tshuǐ\twater\n房子\tfángzi\thouse\n", {"water": ["水"], "house": ["房子"]}),
        ("sw", "a1\twater\tmaji\na2\thouse\tnyumba\na3\ttree\tmti\n", THREE),
        ("sw", "water\t93 %\tmaji\nhouse\t80 %\tnyumba\ntree\t7%\tmti\n", THREE),
        ("sw", "0,93;water;maji\n0,80;house;nyumba\n0,7;tree;mti\n", THREE),
        ("sw", "Word,POS,Swahili\nwater,n,maji\nhouse,n,nyumba\ntree,n,mti\n", THREE),
        ("sw", "water;maji, majimaji\nhouse;nyumba, makao\n", {"water": ["maji", "majimaji"], "house": ["nyumba", "makao"]}),
        ("am", "house\tቤት።\n", {"house": ["ቤት"]}),
        ("sw", "water\tmaji 💧\nhouse\tnyumba🏠\ntree\tmti\n", THREE),
    ],
)
def test_further_columns_and_signs(tmp_path: Path, code: str, text: str, wanted: dict[str, list[str]]) -> None:
    assert read(tmp_path, text, code, "words.csv") == wanted


def test_a_quoted_value_with_a_line_break_is_one_value(tmp_path: Path) -> None:
    table = 'english,swahili,note\nwater,maji,"good\nnew idea\nold"\nhouse,"nyumba\nkubwa",\ntree,mti,\n'
    assert read(tmp_path, table, name="words.csv") == THREE | {"house": ["nyumba kubwa"]}


def test_a_stray_quotation_mark_joins_nothing(tmp_path: Path) -> None:
    words = "".join(f"{one}ig,x{one}\n" for one in "bdfghjklmnprstvwz")
    found = read(tmp_path, 'water,"maji\n' + words, name="words.csv")
    assert found["big"] == ["xb"]
    assert found["zig"] == ["xz"]
