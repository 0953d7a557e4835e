"""Paired comparison: the tests' own numbers, and what it needs of two evaluations."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilift.evaluate.scores.paired_comparison import check_same_questions, compare, holm, mcnemar
from lilift.recipe.errors import DataError

COUNTS = st.integers(0, 60)


@pytest.mark.parametrize(
    ("only_first", "only_second", "expected"),
    [(0, 0, 1.0), (5, 5, 1.0), (0, 1, 1.0), (0, 6, 2 / 64), (1, 9, 22 / 1024), (2, 8, 112 / 1024)],
)
def test_mcnemar_is_the_two_sided_binomial(only_first: int, only_second: int, expected: float) -> None:
    assert mcnemar(only_first, only_second) == pytest.approx(expected)


@given(COUNTS, COUNTS)
def test_mcnemar_is_symmetric_and_grows_with_evenness(one: int, other: int) -> None:
    assert mcnemar(one, other) == mcnemar(other, one)
    assert 0 < mcnemar(one, other) <= 1
    assert mcnemar(0, one + other) <= mcnemar(one, other)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def verdicts(**right: str) -> dict[str, dict[str, bool]]:
    """``sw="1011"``: the second of four questions in Swahili is wrong."""
    return {code: {str(place): sign == "1" for place, sign in enumerate(signs)} for code, signs in right.items()}


def test_two_systems_are_paired_by_question_and_language() -> None:
    first = verdicts(en="1111", sw="1000", de="1100")
    second = verdicts(en="1110", sw="0111", de="1110", fr="1111")
    found = compare("mmwp", ("A", "B"), first, second)
    english, swahili, german = found.languages
    assert (swahili.only_first, swahili.only_second, swahili.p) == (1, 3, mcnemar(1, 3))
    assert (english.difference, swahili.difference, german.difference) == (-0.25, 0.5, 0.25)
    assert found.unpaired == 4
    overall, low, high = found.means
    assert (overall.languages, overall.first, overall.second, overall.difference) == (2, 0.375, 0.75, 0.375)
    assert (low.title, low.languages, high.title) == ("mean, low tier", 1, "mean, high tier")
    assert overall.low <= overall.difference <= overall.high
    assert compare("mmwp", ("A", "B"), first, second) == found, "the same draws every time"


def test_translations_of_a_question_are_drawn_together() -> None:
    """Ten languages that repeat one language's verdicts make nothing surer; ten independent ones would."""
    signs = ("1100" * 20, "1010" * 20)
    codes = ("sw", "bn", "th", "te", "ta", "mr", "gu", "kn", "ml", "ne")
    alone = compare("mmwp", ("A", "B"), verdicts(sw=signs[0]), verdicts(sw=signs[1])).means[0]
    repeated = [verdicts(**dict.fromkeys(codes, one)) for one in signs]
    together = compare("mmwp", ("A", "B"), *repeated).means[0]
    assert together.high - together.low == pytest.approx(alone.high - alone.low)
    assert alone.high - alone.low == pytest.approx(2 * 1.96 * math.sqrt(0.5 / 80), rel=0.1), "as the normal distribution has it"


def test_nothing_differs() -> None:
    same = verdicts(sw="1010")
    (mean, _) = compare("mmwp", ("A", "B"), same, same).means
    assert (mean.difference, mean.low, mean.high, mean.p) == (0, 0, 0, 1)


def test_no_question_in_common_and_other_questions_are_errors() -> None:
    with pytest.raises(DataError, match="no question in common"):
        compare("mmwp", ("A", "B"), verdicts(sw="1"), verdicts(de="1"))
    with pytest.raises(DataError, match="question '3' in 'sw' is not the same in the two evaluations"):
        check_same_questions({("sw", "3"): "a"}, {("sw", "3"): "b"}, "mmwp")
