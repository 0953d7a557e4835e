"""What lilift says of a wrong setting: in its own words, for every kind of mistake that pydantic can find in a recipe."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest

from lilift.recipe.errors import RecipeError
from lilift.recipe.load import load_recipe, validate_recipe

WRONG = (None, "x", "", 5, -1, 1.5, float("inf"), 10**400, True, [], [5], ["x"], {}, {"a": 1}, "\ud800")
# What pydantic says; lilift's own words have none of it.
PYDANTIC = re.compile(
    r"nput should|ield required|valid (string|integer|number|boolean|dictionary|list|tuple)|unable to|unionerror|value error"
    r"|at least \d+ (item|character)|pydantic|should match|discriminator|validation",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def complete() -> dict[str, Any]:
    """A complete recipe as plain values."""
    return load_recipe("tiny-cpu", ["evaluate.during={benchmark: world}"]).as_dict()


def line_of(settings: dict[str, Any]) -> str:
    with pytest.raises(RecipeError) as caught:
        validate_recipe(settings, {})
    return str(caught.value)


def changed(settings: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    made = copy.deepcopy(settings)
    *path, last = key.split(".")
    place = made
    for part in path:
        place = place[part]
    place[last] = value
    return made


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("seed", "many", 'seed: write a whole number, such as 100; it is now "many"'),
        ("seed", 1.5, "seed: write a whole number, such as 100; it is now 1.5"),
        ("seed", -1, "seed: write a number of 0 or more; it is now -1"),
        ("align.epochs", "x", 'align.epochs: write a number, such as 0.5; it is now "x"'),
        ("align.epochs", 0, "align.epochs: write a number greater than 0; it is now 0"),
        ("align.warmup_ratio", 1, "align.warmup_ratio: write a number less than 1; it is now 1"),
        ("align.epochs", float("nan"), "align.epochs: write a finite number; it is now NaN"),
        ("align.skip", "perhaps", 'align.skip: write true or false; it is now "perhaps"'),
        ("card", "24", "card: write 'cpu', '8gb', '12gb', '16gb', '24gb' or 't4' (did you mean '24gb'?); it is now \"24\""),
        ("name", "My Recipe", "name: write lower-case letters, digits,"),
        ("data.template", {"respond": ""}, 'data.template.respond: write a text that is not empty; it is now ""'),
        ("alignment", 5, "alignment: write settings of its own: one a line, indented below its name; it is now 5"),
        ("evaluate.benchmarks", "mgsm", 'evaluate.benchmarks: write a list, such as [a, b]; it is now "mgsm"'),
        ("evaluate.during.stages", [], "evaluate.during.stages: write at least one value; it is now []"),
        ("encoder.model", 5, "encoder.model is a text, but YAML reads this value as 5; put the text in quotes"),
        # Settings that take several kinds of values name them all.
        ("llm.gradient_checkpointing", "no way", "llm.gradient_checkpointing: write true or false, or 'offload'"),
        ("alignment.pool", 0, "alignment.pool: write a number of 1 or more, or 'text'; it is now 0"),
        (
            "transfer.lora.target_modules",
            5,
            "transfer.lora.target_modules: write a text, or a list, such as [a, b]; it is now 5",
        ),
        ("data.lexicons", 5, "data.lexicons: write a mapping, such as {a: b}; it is now 5"),
    ],
)
def test_each_kind_of_mistake_says_what_to_write(complete: dict[str, Any], key: str, value: Any, line: str) -> None:
    assert line_of(changed(complete, key, value)).startswith(line)


def keys_of(settings: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in settings.items():
        yield prefix + name
        if isinstance(value, dict):
            yield from keys_of(value, f"{prefix}{name}.")


def test_no_wrong_value_shows_the_words_of_pydantic(complete: dict[str, Any]) -> None:
    refused: dict[str, str] = {}
    for key in keys_of(complete):
        for value in WRONG:
            try:
                validate_recipe(changed(complete, key, value), {})
            except RecipeError as error:
                refused[f"{key}={value!r}"[:100]] = str(error).split("; it is now ")[0]
    assert len(refused) > 500
    assert not {change: line for change, line in refused.items() if PYDANTIC.search(line)}
    assert not {change: line for change, line in refused.items() if "another value; `docs" in line}
