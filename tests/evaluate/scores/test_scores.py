"""Counting: intervals, tiers, averages without English, and tables."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilift.evaluate.scores.scores import (
    LanguageScore,
    SystemScores,
    as_json,
    by_published_scoring,
    from_json,
    score_benchmark,
    score_language,
    tables,
    wilson_interval,
)


def score(language: str, correct: int, questions: int = 100, missing: int = 0) -> LanguageScore:
    return score_language(
        language,
        questions=questions,
        correct=correct,
        missing=missing,
        cut=0,
        rows_read=questions,
        sound=questions // 2,
        sound_correct=min(correct, questions // 2),
        published_correct=correct // 2,
        published_only=correct // 4,
    )


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_interval_has_the_published_values(correct: int, total: int, low: float, high: float) -> None:
    # The last case is Newcombe (1998), table I; the others follow from Wilson's formula by hand.
    assert wilson_interval(correct, total) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 2000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_interval_holds_the_share_and_stays_a_share(counts: tuple[int, int]) -> None:
    correct, total = counts
    low, high = wilson_interval(correct, total)
    assert 0 <= low <= correct / total <= high <= 1


def test_averages_leave_english_out_and_count_languages_alike() -> None:
    scores = score_benchmark("mmwp", [score("en", 100), score("sw", 10, 20), score("bn", 30, 200), score("de", 80)])
    assert scores.macro == pytest.approx((0.5 + 0.15 + 0.8) / 3)
    assert [(tier.tier, tier.languages) for tier in scores.tiers] == [("low", ("sw", "bn")), ("high", ("de",))]
    assert scores.tiers[0].accuracy == pytest.approx((0.5 + 0.15) / 2)


def test_languages_outside_mmwp_count_as_low() -> None:
    assert [score(code, 1).tier for code in ("om", "qu", "fj", "ln")] == ["low"] * 4


def test_english_alone_has_no_average() -> None:
    scores = score_benchmark("world", [score("en", 90)])
    assert scores.macro is None
    assert scores.tiers == ()


def test_missing_answers_are_counted_apart() -> None:
    found = score("sw", 10, 40, missing=6)
    assert (found.accuracy, found.missing_rate) == (0.25, 0.15)


def test_scores_on_sound_rows_and_by_the_authors_scoring_stand_beside_the_score() -> None:
    found = score("sw", 20, 40)
    assert (found.accuracy, found.sound_accuracy, found.published_accuracy) == (0.5, 1.0, 0.25)
    assert (found.published_only, found.lilift_only) == (5, 15)


def test_by_published_scoring_every_average_follows() -> None:
    system = SystemScores(
        "lifted", "both stages", (score_benchmark("mgsm", [score("en", 90), score("sw", 40), score("bn", 20)]),)
    )
    published = by_published_scoring(system).benchmarks[0]
    assert [one.accuracy for one in published.languages] == [0.45, 0.2, 0.1]
    assert published.macro == pytest.approx(0.15)
    assert published.languages[1].low < 0.2 < published.languages[1].high


def systems() -> list[SystemScores]:
    before = score_benchmark("world", [score("en", 4), score("om", 0)])
    after = score_benchmark("world", [score("en", 95), score("om", 61), score("ln", 73)])
    mgsm = score_benchmark("mgsm", [score("sw", 1)])
    return [SystemScores("untrained", "before training", (before,)), SystemScores("lifted", "both stages", (after, mgsm))]


def test_scores_survive_the_way_through_json() -> None:
    assert from_json(json.loads(json.dumps(as_json(systems())))) == systems()


def test_a_table_has_a_row_a_system_and_says_what_was_not_asked() -> None:
    world, mgsm = tables(systems())
    assert world.languages == ("en", "om", "ln")
    assert world.names[1] == "Oromo"
    assert [(row.title, row.accuracies, row.macro) for row in world.rows] == [
        ("before training", (0.04, 0.0, None), 0.0),
        ("both stages", (0.95, 0.61, 0.73), pytest.approx(0.67)),
    ]
    assert [row.title for row in mgsm.rows] == ["both stages"]
