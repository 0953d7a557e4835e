"""Scores in a terminal: readable for two languages and for forty-eight."""

from __future__ import annotations

import pytest

from lilift.cli.run_output import print_scores
from lilift.data.languages import languages
from lilift.evaluate.scores.scores import SystemScores, score_benchmark, score_language


def system(name: str, codes: list[str]) -> SystemScores:
    scores = [
        score_language(
            code,
            questions=100,
            correct=place,
            missing=0,
            cut=0,
            rows_read=100,
            sound=100,
            sound_correct=place,
            published_correct=0,
            published_only=0,
        )
        for place, code in enumerate(codes)
    ]
    return SystemScores(name, f"system {name}", (score_benchmark("mmwp", scores),))


def printed(codes: list[str], capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    print_scores([system("a", codes), system("b", codes[:3])])
    return [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]


def test_few_languages_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(["en", "sw", "th", "de"], capsys)
    assert ["system", "a", "0", "1", "2", "3", "2"] in lines
    assert ["system", "b", "0", "1", "2", "–", "2"] in lines


def test_many_languages_stand_below_each_other_by_tier_with_every_number_whole(capsys: pytest.CaptureFixture[str]) -> None:
    codes = ["en", *(code for code, known in languages().items() if known.tier and code != "en")]
    assert len(codes) == 48
    lines = printed(codes, capsys)
    assert lines[1] == ["accuracy", "in", "%", "tier", "system", "a", "system", "b"]
    rows = {line[0]: line[1:] for line in lines}
    for place, code in enumerate(codes):
        known = languages()[code]
        tier = [] if code == "en" else [str(known.tier)]
        assert rows[known.name.split()[0]][-2 - len(tier) :] == [*tier, str(place), str(place) if place < 3 else "–"]
    tiers = [line[1] for line in lines if line[1:2] in (["low"], ["medium"], ["high"])]
    assert tiers == sorted(tiers, key=["high", "medium", "low"].index)
    assert [line[:3] for line in lines if line[0] == "mean"] == [
        ["mean", "of", "9"], ["mean", "of", "17"], ["mean", "of", "21"], ["mean", "without", "English"],
    ]  # fmt: skip
