"""Writes the pages of `lilift eval` and `lilift eval compare`: the systems of one folder, or two evaluations side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lilift.evaluate.evaluator import SCORES, read_scores
from lilift.evaluate.scores.paired_comparison import Comparison
from lilift.evaluate.scores.response_analysis import read_profiles
from lilift.evaluate.scores.scores import SystemScores
from lilift.phases.report.page import render
from lilift.phases.report.results_section import BenchmarkSection, benchmark_sections
from lilift.recipe.storage import JsonLines, write_text

_TEMPLATE = "evaluation.html.j2"


def write_evaluation_page(folder: Path, title: str) -> Path:
    """Write `report.html` into an evaluation's folder.

    Args:
        folder: the folder of the evaluation; see `lilift.evaluate.evaluator`.
        title: title of the page.

    Raises:
        RunFolderError: a file of the evaluation is damaged.
        StorageError: the page cannot be written.
    """
    sections = benchmark_sections(read_scores(folder / SCORES), _Lines({"": folder}).of, read_profiles(folder))
    page = render(_TEMPLATE, {"title": title, "notes": (), "comparisons": (), "benchmarks": sections})
    write_text(folder / "report.html", page)
    return folder / "report.html"


def write_comparison_page(
    path: Path,
    systems: Sequence[tuple[Path, SystemScores, str]],
    comparisons: Sequence[Comparison],
) -> None:
    """Write two evaluations on one page.

    Args:
        path: the file to write.
        systems: folder, scores and title of each evaluation.
        comparisons: the comparison on each benchmark.

    Raises:
        RunFolderError: a file of an evaluation is damaged.
        StorageError: the page cannot be written.
    """
    sections = sections_side_by_side(systems, [comparison.benchmark for comparison in comparisons])
    title = " and ".join(title for _, _, title in systems)
    write_text(path, render(_TEMPLATE, {"title": title, "notes": (), "comparisons": comparisons, "benchmarks": sections}))


def sections_side_by_side(
    systems: Sequence[tuple[Path, SystemScores, str]], benchmarks: Collection[str]
) -> list[BenchmarkSection]:
    """The results of systems from several folders, benchmark by benchmark.

    Args:
        systems: folder, scores and title of each evaluation.
        benchmarks: the benchmarks to show.

    Raises:
        RunFolderError: a file of an evaluation is damaged.
    """
    names = [f"{place}:{scores.system}" for place, (_, scores, _) in enumerate(systems)]
    shown = [
        replace(
            scores,
            system=name,
            title=title,
            benchmarks=tuple(one for one in scores.benchmarks if one.benchmark in benchmarks),
        )
        for name, (_, scores, title) in zip(names, systems, strict=True)
    ]
    profiles = {
        name: read_profiles(folder).get(scores.system, {}) for name, (folder, scores, _) in zip(names, systems, strict=True)
    }
    lines = _Lines({name.partition(":")[0]: folder for name, (folder, _, _) in zip(names, systems, strict=True)})
    return benchmark_sections(shown, lines.of, profiles)


class _Lines:
    """Kept responses from several folders. A system is named ``folder:system``, or ``system`` if there is one folder."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders

    def of(self, system: str, benchmark: str, language: str) -> Sequence[Mapping[str, Any]]:
        place, _, name = system.rpartition(":")
        return JsonLines(self._folders[place] / name / benchmark / f"{language}.jsonl").read()
