"""Capitals of dictionaries: dropped where they say nothing, kept where they belong to the word."""

from __future__ import annotations

import pytest

from lilift.data.languages import language
from lilift.data.lexicons.dictionary_files import Pair
from lilift.data.lexicons.lexicon import build_lexicon


def texts(code: str, *pairs: tuple[str, str]) -> dict[str, str]:
    lexicon = build_lexicon([Pair(*pair) for pair in pairs], language(code), "words.tsv")
    return {word: found[0].text for word, found in lexicon.entries.items()}


@pytest.mark.parametrize(
    ("code", "pairs", "wanted"),
    [
        ("sw", [("WATER", "MAJI"), ("BOOK", "KITABU"), ("GERMANY", "UJERUMANI")], ["maji", "kitabu", "Ujerumani"]),
        ("sw", [("water", "MAJI"), ("book", "KITABU"), ("tree", "MTI")], ["maji", "kitabu", "mti"]),
        ("tr", [("HEAT", "ISI"), ("LION", "ASLAN"), ("INK", "MÜREKKEP")], ["ısı", "aslan", "mürekkep"]),
        ("el", [("WATER", "ΝΕΡΟ"), ("ROAD", "ΔΡΟΜΟΣ"), ("BOOK", "ΒΙΒΛΙΟ")], ["νερο", "δρομος", "βιβλιο"]),
        ("de", [("water", "Wasser"), ("Monday", "Montag"), ("go", "gehen")], ["Wasser", "Montag", "gehen"]),
        ("fr", [("water", "eau"), ("NATO", "OTAN"), ("Dad", "Papa")], ["eau", "OTAN", "papa"]),
        ("sw", [("water", "maji"), ("Germany", "Ujerumani"), ("Monday", "Jumatatu")], ["maji", "Ujerumani", "Jumatatu"]),
        ("sw", [("Water", "Maji"), ("Book", "Kitabu"), ("Tree", "Mti")], ["maji", "kitabu", "mti"]),
        ("hi", [("WATER", "पानी"), ("BOOK", "किताब"), ("TREE", "पेड़")], ["पानी", "किताब", "पेड़"]),
    ],
)
def test_a_translation_stands_as_it_does_within_a_sentence(code: str, pairs: list[tuple[str, str]], wanted: list[str]) -> None:
    assert list(texts(code, *pairs).values()) == wanted


def test_a_dictionary_in_capitals_is_said() -> None:
    pairs = [Pair("WATER", "MAJI"), Pair("BOOK", "KITABU"), Pair("TREE", "MTI")]
    (source,) = build_lexicon(pairs, language("sw"), "words.tsv", name="words").sources
    assert source.lowered
    assert source.remarks() == ["words is written in capitals: lilift put its translations into lower case"]
    (source,) = build_lexicon([Pair("TV", "TV"), Pair("water", "maji")], language("sw"), "words.tsv").sources
    assert not source.lowered
