"""The settings of an adaptation of the encoder: what they mean, and what is refused."""

from __future__ import annotations

import pytest

from lilift.recipe.errors import RecipeError
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import Recipe


def adapting(*overrides: str) -> Recipe:
    return load_recipe("tiny-cpu", ["languages=[fj, ln]", "encoder.adapt.text={Fijian: fj.txt}", *overrides])


def test_the_encoder_is_adapted_to_the_languages_that_have_a_text() -> None:
    assert adapting().running_text == {"fj": "fj.txt"}
    assert load_recipe("tiny-cpu").running_text == {}
    all_of_them = load_recipe("tiny-cpu", ["languages=[fj, ln]", "encoder.adapt.text=texts/{language}.txt"])
    assert all_of_them.running_text == {"fj": "texts/fj.txt", "ln": "texts/ln.txt"}
    assert adapting("encoder.adapt=none") == load_recipe("tiny-cpu", ["languages=[fj, ln]"])


def test_a_recipe_without_an_adaptation_keeps_its_text_and_digest() -> None:
    assert "adapt" not in load_recipe("tiny-cpu").as_dict()["encoder"]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["languages=[ln]"], r"encoder\.adapt\.text: 'fj' is none of the recipe's languages"),
        (["encoder.adapt.text={en: e.txt}"], "lilift takes English from data.instructions"),
        (
            [
                "encoder.model=none",
                "alignment.layout=text",
                "align.skip=true",
                "transfer.control=false",
                "evaluate.alignment=none",
            ],
            "the recipe has no encoder to adapt",
        ),
        (["encoder.adapt={}"], r"encoder\.adapt\.text"),
    ],
)
def test_an_adaptation_that_cannot_be_is_one_line(overrides: list[str], line: str) -> None:
    with pytest.raises(RecipeError, match=line):
        adapting(*overrides)
