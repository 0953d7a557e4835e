"""Cutting the GATITOS excerpt."""

from __future__ import annotations

from pathlib import Path

import pytest

from lilift.data.world.gatitos_excerpt import cut, read_full
from lilift.data.world.world_vocabulary import vocabulary
from lilift.recipe.errors import DataError


def test_notes_alternatives_affixes_and_identities_are_passed_over(tmp_path: Path) -> None:
    full = tmp_path / "en_xx.tsv"
    lines = [
        "House\tMana (noun), bet",
        "house\tother",
        "goat\tgoat",
        "goat\treetii!",
        "the\t-icha",
        "cow\ta b c d",
        "egg\t[none]",
    ]
    full.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert read_full(full) == {"house": "mana", "goat": "reetii"}


def test_every_form_gets_the_translation_of_its_dictionary_form_and_substitutes_stand_in() -> None:
    full = {word[0].lower(): f"x{index}" for index, word in enumerate(vocabulary().words())}
    del full["equally"], full["the"]
    full["equal"] = "same"
    rows = cut(full, "xx")
    assert rows["gave"] == rows["give"] == full["give"]
    assert rows["equally"] == "same"
    assert "the" not in rows


def test_a_missing_content_word_is_an_error_that_names_it() -> None:
    full = {word[0].lower(): "x" for word in vocabulary().words()}
    del full["apple"]
    with pytest.raises(DataError, match="'apple' in 'xx'"):
        cut(full, "xx")
