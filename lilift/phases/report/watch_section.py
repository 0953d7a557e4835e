"""Prepares what the report says about the foreign questions that lilift watched while it trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lilift.phases.report.charts import LineChart, Series, line_chart
from lilift.phases.report.report_files import RunFiles
from lilift.phases.report.sample_questions import Reply, Sample
from lilift.train.watch_lines import WATCHED, best_watch, fall

_STAGES = (("align", "c"), ("transfer", "c"), ("control", "b"))


@dataclass(frozen=True)
class WatchedStage:
    """The watches of one stage: first, best and last line of `during.jsonl`.

    Attributes:
        title: the stage.
        watches: number of watches.
        first, best, last: lines of the file.
        fell: the step at which the share of right answers began to fall, or None.
        kept: the step whose weights the stage ends with.
        languages: the share of right answers by language in the first and the last watch; empty for one language.
        samples: language and question with the answers of the first, the best and the last watch.
    """

    title: str
    watches: int
    first: Mapping[str, Any]
    best: Mapping[str, Any]
    last: Mapping[str, Any]
    fell: int | None
    kept: int
    languages: tuple[tuple[str, float, float], ...]
    samples: tuple[tuple[str, Sample], ...]


@dataclass(frozen=True)
class WatchSection:
    """What lilift watched, and what came out.

    Attributes:
        benchmark: the benchmark of the questions.
        languages: their codes.
        rows: questions in each language.
        left_out: whether the evaluation after training leaves these questions out; otherwise it does not ask this benchmark.
        stages: the watched stages.
        charts: the share of right answers over the steps.
    """

    benchmark: str
    languages: tuple[str, ...]
    rows: int
    left_out: bool
    stages: tuple[WatchedStage, ...]
    charts: tuple[LineChart, ...]


def watch_section(files: RunFiles, recipe: Mapping[str, Any], titles: Mapping[str, str]) -> WatchSection | None:
    """The section, or None if the recipe watches nothing or no stage has begun.

    Args:
        files: the files of the run.
        recipe: the recipe of the run.
        titles: names of the stages.
    """
    evaluate = recipe.get("evaluate") or {}
    during = evaluate.get("during")
    lines = {stage: files.lines(f"{stage}/{WATCHED}") for stage, _ in _STAGES}
    if not during or not any(lines.values()):
        return None
    keeps_best = during.get("keep") == "best"
    some = next(found for found in lines.values() if found)
    return WatchSection(
        str(during.get("benchmark")),
        tuple(some[0]["languages"]),
        int(during.get("rows", 0)),
        any(one.get("name") == during.get("benchmark") for one in evaluate.get("benchmarks", ())),
        tuple(_stage(titles[stage], found, keeps_best=keeps_best) for stage, found in lines.items() if found),
        tuple(_chart(titles[stage], style, lines[stage]) for stage, style in _STAGES if lines[stage]),
    )


def _stage(title: str, lines: Sequence[Mapping[str, Any]], *, keeps_best: bool) -> WatchedStage:
    best = best_watch(lines) or lines[0]
    kept = best if keeps_best else lines[-1]
    shown = list({line["step"]: line for line in (lines[0], best, lines[-1])}.values())
    return WatchedStage(
        title,
        len(lines),
        lines[0],
        best,
        lines[-1],
        fall(lines),
        int(kept["step"]),
        _languages(lines[0], lines[-1]),
        _samples(sorted(shown, key=lambda line: int(line["step"]))),
    )


def _languages(first: Mapping[str, Any], last: Mapping[str, Any]) -> tuple[tuple[str, float, float], ...]:
    """The share of right answers by language in two watches. One language alone is the whole share, which the page has."""
    both = [code for code in first["languages"] if code in last["languages"]]
    if len(both) < 2:
        return ()
    counts = [(code, first["languages"][code], last["languages"][code]) for code in both]
    return tuple((code, *(one["right"] / one["questions"] for one in pair)) for code, *pair in counts)


def _samples(lines: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, Sample], ...]:
    """The questions that these watches keep answers to, with those answers. Watches of earlier versions keep none."""
    found: dict[tuple[str, str], list[tuple[int, Mapping[str, Any]]]] = {}
    for line in lines:
        for sample in line.get("samples", ()):
            found.setdefault((sample["language"], sample["question"]), []).append((int(line["step"]), sample))
    return tuple(
        (
            language,
            Sample(
                question,
                str(answers[0][1]["gold"]),
                tuple(
                    Reply(f"step {step:,}", str(one["response"]).strip(), one["extracted"], bool(one["correct"]))
                    for step, one in answers
                ),
            ),
        )
        for (language, question), answers in found.items()
    )


def _chart(title: str, style: str, lines: Sequence[Mapping[str, Any]]) -> LineChart:
    points = [(float(line["step"]), 100 * float(line["accuracy"])) for line in lines]
    chart = line_chart(
        f"{title[0].upper()}{title[1:]}: foreign questions right",
        "percent",
        [Series("right answers", style, points)],
        show=lambda value: f"{value:.3g}",
        remark=lambda values: f"{values[-1]:.0f} at the end",
    )
    assert chart is not None  # there is a line
    return chart
