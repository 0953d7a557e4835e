"""Every question is in exactly one share, the shares are equal, and few languages are cut."""

from __future__ import annotations

from decimal import Decimal

import pytest

from lilift.evaluate.benchmarks.benchmark import Benchmark, Question
from lilift.evaluate.dealt.question_shares import Share, deal_questions, own_questions, share_named
from lilift.recipe.errors import RecipeError


def questions(count: int, language: str) -> list[Question]:
    return [Question(f"q{n}", f"{language} {'very ' * (n * 7 % 30)}{n}?", Decimal(n)) for n in range(count)]


@pytest.mark.parametrize(
    ("counts", "shares", "most_languages"),
    [
        ([90] * 48, 16, 3),  # three whole languages each
        ([90] * 48, 9, 5 + 3),  # and three languages that all share
        ([100] * 5, 2, 3),
        ([1000, 30, 20, 10], 2, 4),
        ([4] * 3, 2, 2),
        ([1], 4, 1),
        ([250], 16, 1),
        ([0, 7], 2, 1),
        ([], 3, 0),
    ],
)
def test_shares_are_equal_and_hold_each_question_once(counts: list[int], shares: int, most_languages: int) -> None:
    languages = [questions(count, str(place)) for place, count in enumerate(counts)]
    dealt = deal_questions(languages, shares)
    for place, asked in enumerate(languages):
        assert sorted(one.id for share in dealt for one in share[place]) == sorted(one.id for one in asked)
    sizes = [sum(map(len, share)) for share in dealt]
    assert max(sizes) - min(sizes) <= 1 + 0.05 * sum(sizes) / shares
    assert max(sum(map(bool, share)) for share in dealt) == most_languages
    assert dealt == deal_questions([list(reversed(asked)) for asked in languages], shares)
    lengths = [sum(len(one.text) for asked in share for one in asked) for share in dealt]
    if sum(counts) >= 250:
        assert max(lengths) <= 1.1 * sum(lengths) / shares, "no share gets the long questions"


def test_a_share_has_no_languages_without_questions() -> None:
    benchmarks = [Benchmark("world", code, tuple(questions(2, code)), 2) for code in ("en", "om")]
    found = [own_questions(benchmarks, Share(number, 4)) for number in range(1, 5)]
    assert [[(one.language, len(one.questions), one.rows_read) for one in own] for own in found] == [
        [("en", 1, 2)], [("en", 1, 2)], [("om", 1, 2)], [("om", 1, 2)],
    ]  # fmt: skip


def test_how_a_user_names_a_share() -> None:
    assert share_named("3/16") == Share(3, 16)
    for text in ("3", "0/4", "5/4", "a/b", "1/0", "-1/4", "1/4/2"):
        with pytest.raises(RecipeError, match="names no share; give the number of the job and the number of jobs"):
            share_named(text)
