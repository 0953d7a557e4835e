"""Words that are alike in Latin letters, with a romaniser of a few letters, and with uroman where it is installed."""

from __future__ import annotations

import pytest
import torch

from lilift.data.induction.romanisation import iso_code, romanised_anchors, uroman_for
from lilift.data.induction.vector_alignment import InductionSettings, align
from lilift.data.induction.word_vectors import Embeddings
from lilift.recipe.errors import EnvironmentUnfit

CYRILLIC = dict(zip("абвгдеиклмнопрстуѐф", "abvgdeiklmnoprstuéf", strict=True))


def latin(word: str) -> str:
    return "".join(CYRILLIC.get(letter, letter) for letter in word)


def test_names_and_numerals_are_anchors_and_short_or_mixed_words_are_not() -> None:
    english = ["no", "Paris", "internet", "2024", "kafé", "b2b", "banana", "paris"]
    foreign = ["но", "парис", "2٠٢4", "кафѐ", "интернет", "б2б", "ПАРИС", "банана", "二〇二四"]
    found = {
        (english[one], foreign[other]) for one, other in romanised_anchors(english, foreign, lambda word: latin(word.lower()))
    }
    assert found == {("Paris", "парис"), ("internet", "интернет"), ("2024", "2٠٢4"), ("kafé", "кафѐ"), ("banana", "банана")}


@pytest.mark.parametrize(
    ("code", "expected"),
    [("ru", "rus"), ("uk", "ukr"), ("fa", "fas"), ("ps", "pus"), ("mk", "mkd"), ("bn", None), ("sw", None)],
)
def test_uroman_gets_the_code_that_it_has_rules_for(code: str, expected: str | None) -> None:
    """It knows ISO 639-3 codes alone, and says nothing about `ru` or FLORES' `pes`."""
    assert iso_code(code) == expected


def test_the_start_rotates_one_space_onto_another_without_a_common_letter() -> None:
    draws = torch.Generator().manual_seed(0)
    vectors = torch.randn(400, 20, generator=draws)
    rotation, _ = torch.linalg.qr(torch.randn(20, 20, generator=draws))
    letters = "abdegiklmnoprstu"
    words = [letters[n // 16 % 16] + letters[n % 16] + letters[n // 40] + "ana" for n in range(400)]
    back = {value: key for key, value in CYRILLIC.items()}
    foreign = ["".join(back[letter] for letter in word) for word in words]
    settings = InductionSettings(("romanised",), romanise=latin)
    found = align(Embeddings(words, vectors, "en"), Embeddings(foreign, vectors @ rotation, "ru"), settings)
    assert found.attempts[0].criterion > 0.9
    assert (found.english @ found.foreign.T).argmax(1).tolist() == list(range(400))


def test_without_uroman_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lilift.data.induction.romanisation.find_spec", lambda _: None)
    with pytest.raises(EnvironmentUnfit, match=r"needs uroman.*lilift\[induction\]"):
        uroman_for("ru")


@pytest.mark.long  # it reads its tables for ten seconds
def test_uroman_itself() -> None:
    pytest.importorskip("uroman")
    assert uroman_for("uk")("Київ") == "Kyiv", "without the code it would be Kiyiv"
