"""Several systems at once: the shared questions, one correction for all tests, and the same tests as two systems have."""

from __future__ import annotations

import random

import pytest

from lilift.evaluate.scores.paired_comparison import compare, holm
from lilift.evaluate.scores.several_comparison import compare_several
from lilift.recipe.errors import DataError

LANGUAGES = ("en", "sw", "de")


def answers(seed: int, chance: float, questions: int = 30) -> dict[str, dict[str, bool]]:
    draws = random.Random(seed)
    return {code: {str(place): draws.random() < chance for place in range(questions)} for code in LANGUAGES}


def test_the_tests_are_those_of_two_systems_and_the_correction_covers_all() -> None:
    systems = [answers(1, 0.4), answers(2, 0.6), answers(3, 0.45)]
    found = compare_several("mmwp", "abc", systems)
    alone = [compare("mmwp", ("a", other), systems[0], systems[place]) for place, other in ((1, "b"), (2, "c"))]
    assert [pair.comparison.means for pair in found.pairs] == [one.means for one in alone]
    p_values = [row.p for one in alone for row in one.languages]
    assert [row.p for pair in found.pairs for row in pair.comparison.languages] == p_values
    assert [row.p_holm for pair in found.pairs for row in pair.comparison.languages] == holm(p_values)
    assert [pair.means_p_holm[0] for pair in found.pairs] == holm([one.means[0].p for one in alone])
    for row in found.languages:
        # With three systems a question is right for all, for none, for one alone, or for all but one.
        assert row.all_right + row.none_right + sum(row.only) + sum(row.missed) == row.questions
    for mean in found.means:
        assert all(one.low <= one.accuracy <= one.high for one in mean.results)


def test_only_questions_that_all_have_answered_count() -> None:
    easy = answers(1, 1.0)
    fewer = {"en": {"0": False, "new": True}, "sw": {}}
    found = compare_several("mmwp", "abc", [easy, easy, fewer])
    assert [(row.language, row.questions, row.only, row.missed) for row in found.languages] == [("en", 1, (0, 0, 0), (0, 0, 1))]
    assert (found.unpaired, found.left_out, found.means) == (90, ("Swahili", "German"), ())
    with pytest.raises(DataError, match="no question in common"):
        compare_several("mmwp", "ab", [easy, {"sw": {"new": True}}])
