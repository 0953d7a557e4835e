"""What counts as a word of English, as a name, and as a dictionary form."""

from __future__ import annotations

import pytest

from lilift.data.lexicons.english_forms import count_words, dictionary_forms, find_names, is_name, words


def spelled(text: str) -> list[str]:
    return [word.text for word in words(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tom's 3-page letter, e.g. two-thirds.", ["Tom's", "page", "letter", "two", "thirds"]),
        ("She pays $12 an hour and $5 more", ["She", "pays", "an", "hour", "and", "more"]),
        ("Let $x^2 + y$ be large", ["Let", "be", "large"]),
        (r"Simplify \frac{two}{three} and \(big x\) now", ["Simplify", "and", "now"]),
        ("Run `print words` or\n```\nsome code\n```\nnow", ["Run", "or", "now"]),
        ("It is 5 km or 12:30 or 20% of 1,050.5 for the 3rd", ["It", "is", "or", "or", "of", "for", "the"]),
        ("It weighs 5 kg and 3 boxes", ["It", "weighs", "and", "boxes"]),
        ("See https://example.org/some/page or write to me@example.org", ["See", "or", "write", "to"]),
        ("a + b = c and I know {name} <<4+4=8>>", ["a", "and", "I", "know"]),
    ],
)
def test_words_leave_out_everything_that_must_stay(text: str, expected: list[str]) -> None:
    assert spelled(text) == expected


def test_words_tell_where_they_are() -> None:
    text = "Ann’s dog, 3 cats. They don't sleep"
    assert [text[word.start : word.end] for word in words(text)] == spelled(text)


@pytest.mark.parametrize(
    ("word", "form"),
    [
        ("apples", "apple"),
        ("boxes", "box"),
        ("cities", "city"),
        ("knives", "knife"),
        ("children", "child"),
        ("bought", "buy"),
        ("baking", "bake"),
        ("stopped", "stop"),
        ("walked", "walk"),
        ("used", "use"),
        ("hoped", "hope"),
        ("lying", "lie"),
        ("studied", "study"),
        ("telling", "tell"),
        ("bigger", "big"),
        ("happiest", "happy"),
        ("fishermen", "fisherman"),
        ("grandchildren", "grandchild"),
        ("quizzes", "quiz"),
        ("believes", "believe"),
        ("adding", "add"),
        ("potatoes", "potato"),
        ("toes", "toe"),
        ("them", "they"),
        ("friend's", "friend"),
        ("friends’", "friends’"),
    ],
)
def test_dictionary_forms_include_the_right_one(word: str, form: str) -> None:
    forms = dictionary_forms(word.rstrip("’"))
    assert form.rstrip("’") in forms


@pytest.mark.parametrize(
    ("word", "wrong"),
    [
        ("used", "us"),
        ("hoped", "hop"),
        ("bus", "bu"),
        ("news", "new"),
        ("this", "thi"),
        ("thing", "th"),
        ("saves", "safe"),
        ("believes", "belief"),
        ("adding", "ad"),
        ("toes", "to"),
        ("outing", "out"),
        ("more", "much"),
        ("least", "little"),
    ],
)
def test_dictionary_forms_do_not_mistake_one_word_for_another(word: str, wrong: str) -> None:
    assert wrong not in dictionary_forms(word)


def names_in(text: str, known: frozenset[str] = frozenset()) -> list[str]:
    return [word.text for word in words(text) if is_name(word, known)]


def test_names_are_capitals_within_a_sentence_but_not_at_its_beginning() -> None:
    text = "Apples cost a lot. Then Mark met Dr. Rose in NASA on Monday and I'm glad. “Pears!” said Lee."
    assert names_in(text) == ["Mark", "Dr", "Rose", "NASA", "Lee"]
    assert names_in("Mark runs. Rose's dog too.", frozenset(["mark", "rose"])) == ["Mark", "Rose's"]


def test_names_are_found_in_texts_by_how_they_are_mostly_written() -> None:
    texts = ["Yesterday Mark ran.", "Then Mark's dog ate.", "They mark it.", "We met Will.", "He will. I will. So I will."]
    assert find_names(texts) == {"mark"}


def test_words_are_counted_without_names() -> None:
    assert count_words(["The dog saw Mark.", "The cat"]) == {"the": 2, "dog": 1, "saw": 1, "cat": 1}
