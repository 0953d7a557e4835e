"""Dictionaries in JSON: Wiktionary as kaikki.org has it, rows that name their languages, and one object of words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lilift.data.lexicons.lexicon_folder import import_lexicon
from lilift.recipe.errors import DataError


def entry(word: str, code: str, *senses: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"pos": "noun", "word": word, "lang_code": code, "senses": list(senses)} | more


BURMESE = [
    entry("အိမ်", "my", {"glosses": ["house; home"]}, {"glosses": ["(astrology) a mansion"]}),
    entry("ရေ", "my", {"glosses": ["liquid", "water"]}, {"glosses": ["river"], "tags": ["obsolete"]}),
    entry("စား", "my", {"glosses": ["to eat"]}, {"glosses": ["plural of something"], "tags": ["form-of"]}),
    entry("ဝယ်", "my", {"glosses": ["to buy"]}),
    entry("ခွေး", "my", {"glosses": ["A dog."]}, {"glosses": None}, {}),
    entry("chien", "fr", {"glosses": ["dog"]}),
]
ENGLISH = [
    entry("house", "en", {"glosses": ["A building."]}, translations=[{"code": "my", "word": "အိမ်"}, {"code": "my"}]),
    entry("water", "en", {"glosses": ["H2O"], "translations": [{"lang_code": "my", "word": "ရေ"}]}),
    entry("dog", "en", {"glosses": ["x"]}, translations=[{"lang": "Burmese", "word": "ခွေး"}, {"code": "fr", "word": "chien"}]),
]


def read(tmp_path: Path, name: str, text: str) -> dict[str, list[str]]:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return {word: [one.text for one in found] for word, found in import_lexicon(path, "my").entries.items()}


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.mark.parametrize("name", ["kaikki.org-dictionary-Burmese.jsonl", "renamed.txt"])
def test_entries_of_the_language_give_the_words_of_their_glosses(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, name, lines(BURMESE)) == {
        "house": ["အိမ်"],
        "home": ["အိမ်"],
        "mansion": ["အိမ်"],
        "water": ["ရေ"],
        "eat": ["စား"],
        "buy": ["ဝယ်"],
        "dog": ["ခွေး"],
    }


def test_english_entries_give_their_translations(tmp_path: Path) -> None:
    assert read(tmp_path, "raw.jsonl", lines(ENGLISH)) == {"house": ["အိမ်"], "water": ["ရေ"], "dog": ["ခွေး"]}


@pytest.mark.parametrize(
    "text",
    [
        lines([{"english": "water", "my": "ရေ"}, {"english": "dog", "my": "ခွေး"}]),
        json.dumps([{"Burmese": "ရေ", "English": "water"}, {"Burmese": ["ခွေး", None], "English": "dog"}]),
        lines([{"translation": {"en": "water", "my": "ရေ"}}, {"translation": {"en": "dog", "my": "ခွေး"}}]),
        json.dumps({"water": "ရေ", "dog": ["ခွေး"]}),
        json.dumps({"ရေ": "water", "ခွေး": "dog"}),
    ],
)
def test_rows_and_objects_name_their_languages_or_show_them(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, "words.json", text) == {"water": ["ရေ"], "dog": ["ခွေး"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lines([{"question": "a", "answer": "b"}] * 2), r"none of 2 rows \(their keys: question, answer\) has English and Bur"),
        (lines(BURMESE[-1:] * 2), "none of 2 entries has English and Burmese"),
        ('{"water": {"a": 1}}', "the JSON has no pairs of words"),
        ('{"a": 1}\nno json\n', "words.json:2: the line is not a JSON object"),
        ("[]", "none of 0 rows"),
    ],
)
def test_json_that_is_no_dictionary_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, "words.json", text)
    assert "\n" not in caught.value.line()
