"""The world's languages: real words, wholly foreign, in the language's own order."""

from __future__ import annotations

import re

import pytest

from lilift.data import world
from lilift.data.world.world_languages import FilledClause, FilledConstituent, realise, translations
from lilift.data.world.world_vocabulary import vocabulary

LANGUAGES = list(world.WORLD_LANGUAGES)


@pytest.fixture(scope="module")
def clauses() -> list[FilledClause]:
    """Tom gives the farmer 5 red apples in the house today."""
    parts = [("S", "Tom"), ("V", "gives"), ("R", "the farmer"), ("O", "5 red apples"), ("L", "in the house"), ("T", "today")]
    return [FilledClause(tuple(FilledConstituent(role, tuple(words.split())) for role, words in parts), ".")]


def test_english_is_said_as_written_with_capital_and_stop(clauses: list[FilledClause]) -> None:
    assert realise(clauses, "en") == "Tom gives the farmer 5 red apples in the house today."


@pytest.mark.parametrize("language", LANGUAGES)
def test_subject_verb_and_object_stand_in_the_order_of_the_language(language: str, clauses: list[FilledClause]) -> None:
    table = translations(language)
    text = realise(clauses, language).lower()
    places = {"S": text.index("tom"), "V": text.index(table["gives"]), "O": text.index(table["apples"])}
    assert "".join(sorted(places, key=places.__getitem__)) == world.WORLD_LANGUAGES[language].order


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_adjectives_and_adpositions_stand_on_the_right_side_of_the_noun(
    language: str, clauses: list[FilledClause]
) -> None:
    table, settings = translations(language), world.WORLD_LANGUAGES[language]
    text = realise(clauses, language).lower()
    noun = text.index(table["apples"])
    assert (text.index("5") < noun) == settings.number_first
    assert (text.index(table["red"]) < noun) == settings.adjective_first
    if "in" in table:
        house = text.index(table["house"])
        place = [match.start() for match in re.finditer(rf"\b{re.escape(table['in'])}\b", text)]
        assert any((at < house) == settings.adposition_first for at in place)


def test_four_orders_are_there() -> None:
    assert {language.order for language in world.WORLD_LANGUAGES.values()} >= {"SOV", "SVO", "VOS", "VSO"}
    assert len(LANGUAGES) >= 4


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_test_question_is_wholly_foreign(language: str) -> None:
    """Every word is a translation, a name or a number; no word is there only because English has it."""
    names = {name.lower() for name in vocabulary().names}
    foreign = {word for translation in translations(language).values() for word in translation.split()}
    english = {word for entry in translations(language) for word in entry.split()}
    for example in world.test_problems(language, 300, seed=5):
        words = [word.strip(".,?") for word in example.question.lower().split()]
        strange = [word for word in words if word not in names and word not in foreign and not word.isdecimal()]
        assert not strange, example.question
        leaked = [word for word in words if word in english and word not in foreign]
        assert not leaked, example.question


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_translation_is_the_english_word_itself(language: str) -> None:
    assert not [english for english, translation in translations(language).items() if english == translation]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_lexicon_has_every_content_word_in_every_form(language: str) -> None:
    table = translations(language)
    missing = [form for words in vocabulary().classes.values() for word in words for form in word if form.lower() not in table]
    assert not missing


def test_the_vocabulary_has_several_hundred_words() -> None:
    assert len({word[0] for word in vocabulary().words()}) >= 250


@pytest.mark.parametrize("language", LANGUAGES)
def test_lexicon_rows_are_two_clean_columns(language: str) -> None:
    for line in world.lexicon_path(language).read_text(encoding="utf-8").splitlines():
        english, translation = line.split("\t")
        assert english == english.strip().lower()
        assert translation == translation.strip()
        assert translation
        assert not re.search(r"[\[\]();,/]", translation)
