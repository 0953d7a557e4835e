"""Prepares what the report says about the foreign questions that lilift watched while it trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lilift.phases.report.charts import LineChart, Series, line_chart
from lilift.phases.report.report_files import RunFiles
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
    """

    title: str
    watches: int
    first: Mapping[str, Any]
    best: Mapping[str, Any]
    last: Mapping[str, Any]
    fell: int | None
    kept: int


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
    return WatchedStage(title, len(lines), lines[0], best, lines[-1], fall(lines), int(kept["step"]))


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
