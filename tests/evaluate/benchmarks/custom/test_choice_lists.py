"""How choices may be written, and choices that a model could not choose from."""

from __future__ import annotations

from typing import Any

import pytest

from lilift.evaluate.benchmarks.custom.choice_lists import choices_of_cells
from lilift.recipe.errors import DataError


@pytest.mark.parametrize(
    "cells",
    [
        (["ng'ombe", "mbuzi, kondoo", "3"],),
        ('["ng\'ombe", "mbuzi, kondoo", 3]',),
        ("[\"ng'ombe\", 'mbuzi, kondoo', 3]",),  # a Python list, as pandas writes it
        ({"text": ["ng'ombe", "mbuzi, kondoo", "3"], "label": ["A", "B", "C"]},),
        ([{"label": "A", "text": "ng'ombe"}, {"label": "B", "text": "mbuzi, kondoo"}, {"label": "C", "text": "3"}],),
        ({"A": "ng'ombe", "B": "mbuzi, kondoo", "C": "3"},),
        ("ng'ombe | mbuzi, kondoo | 3",),
        ("ng'ombe; mbuzi, kondoo; 3",),
        ("A. ng'ombe\nB. mbuzi, kondoo\nC. 3",),
        ("A) ng'ombe B) mbuzi, kondoo C) 3",),
        ("ng'ombe", "mbuzi, kondoo", "3"),
        ("ng'ombe", "mbuzi, kondoo", "3", "", None),
    ],
)
def test_choices_are_read_in_every_usual_form(cells: tuple[Any, ...]) -> None:
    assert choices_of_cells(cells, "") == ("ng'ombe", "mbuzi, kondoo", "3")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (("one",), "has 1 choices"),
        ((None,), "has 0 choices"),
        (("a", "", "c"), "choice B is empty"),
        (("a", "b", "a"), "two choices are the same: 'a'"),
        (("|".join(map(str, range(27))),), "27 choices; lilift takes at most 26"),
        (([["a"], ["b"]],), "cannot read the choices"),
    ],
)
def test_choices_that_cannot_be_chosen_from_are_refused(cells: tuple[Any, ...], message: str) -> None:
    with pytest.raises(DataError, match=f"my.csv: row 2: .*{message}"):
        choices_of_cells(cells, "my.csv: row 2")
