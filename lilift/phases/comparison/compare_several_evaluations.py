"""Finds several evaluations on the disk, compares them question by question, and writes the comparison."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lilift.evaluate.answering_cost import AnsweringCost, read_costs
from lilift.evaluate.scores.paired_comparison import Verdicts, check_same_questions, p_value, read_verdicts
from lilift.evaluate.scores.several_comparison import (
    MOST_FOR_ALL_PAIRS,
    MOST_SYSTEMS,
    SeveralComparison,
    compare_several,
    shared_questions,
)
from lilift.phases.comparison.compare_evaluations import Evaluation, find_evaluation, with_distinct_titles
from lilift.phases.report.evaluation_pages import sections_side_by_side
from lilift.phases.report.page import render
from lilift.phases.report.results_section import style_of
from lilift.phases.report.sample_questions import Sample, sample_of
from lilift.recipe.errors import DataError, RecipeError
from lilift.recipe.storage import JsonLines, write_json, write_text

AnswerLines = Callable[[Evaluation, str], Mapping[str, Mapping[str, Any]]]
"""An evaluation's answer lines in a language, by id."""
EXAMPLES = 3
"""Questions that are shown for each system, of those that it alone answered right."""


@dataclass(frozen=True)
class Example:
    """A question that one system alone answered right: language, and every system's response."""

    language: str
    name: str
    sample: Sample


@dataclass(frozen=True)
class SeveralOnBenchmark:
    """One benchmark: the comparison, each system's cost where it was recorded, and examples for each system."""

    comparison: SeveralComparison
    costs: tuple[AnsweringCost | None, ...]
    examples: tuple[tuple[Example, ...], ...]

    def alone(self, place: int) -> int:
        """Questions that this system answered right and all others wrong."""
        return sum(row.only[place] for row in self.comparison.languages)

    def missed(self, place: int) -> int:
        """Questions that this system answered wrong and all others right."""
        return sum(row.missed[place] for row in self.comparison.languages)

    def as_dict(self) -> dict[str, Any]:
        """Plain values. Accuracies are shares from 0 to 1, times are in seconds and memory in GiB."""
        costs = [None if one is None else asdict(one) | {"seconds_a_question": one.seconds_a_question} for one in self.costs]
        examples = [[asdict(one) for one in found] for found in self.examples]
        return self.comparison.as_dict() | {"costs": costs, "examples_only_this_one_got_right": examples}


@dataclass(frozen=True)
class SeveralCompared:
    """Several evaluations, and their comparison on each benchmark."""

    evaluations: tuple[Evaluation, ...]
    benchmarks: tuple[SeveralOnBenchmark, ...]


def compare_several_evaluations(
    given: Sequence[str], *, reference: str | None = None, benchmark: str | None = None
) -> SeveralCompared:
    """Compare two or more evaluations.

    Args:
        given: runs, or folders with `scores.json`; ``:system`` at the end chooses one of several systems.
        reference: the one of `given` that the others are tested against; None means the first, ``all`` means every pair.
        benchmark: compare only this one; None compares all benchmarks that all of them have.

    Raises:
        RecipeError: there are too many evaluations, or the reference is none of them.
        RunFolderError: there is no evaluation, or it has no such system.
        DataError: they do not have the same questions.
    """
    if len(given) > MOST_SYSTEMS:
        raise RecipeError(f"{len(given)} evaluations are too many for one table", remedy=f"give at most {MOST_SYSTEMS}")
    place = reference_place(given, reference)
    found = with_distinct_titles([find_evaluation(one) for one in given])
    shared = [
        scores.benchmark
        for scores in found[0].system.benchmarks
        if all(scores.benchmark in {other.benchmark for other in one.system.benchmarks} for one in found)
        and benchmark in (None, scores.benchmark)
    ]
    if not shared:
        what = f"they do not all have results on {benchmark!r}" if benchmark else "they have no benchmark in common"
        raise DataError(what, where=", ".join(given), remedy="evaluate all of them on the same benchmark")
    return SeveralCompared(tuple(found), tuple(_on_benchmark(name, found, place) for name in shared))


def reference_place(given: Sequence[str], reference: str | None) -> int | None:
    """The place of the reference among the evaluations; None stands for all pairs.

    Raises:
        RecipeError: it is none of them, or there are too many for all pairs.
    """
    if reference is None:
        return 0
    if reference == "all":
        if len(given) > MOST_FOR_ALL_PAIRS:
            raise RecipeError(
                f"--reference all tests every pair, and {len(given)} evaluations have too many pairs",
                remedy=f"give at most {MOST_FOR_ALL_PAIRS} evaluations, or name one as the reference",
            )
        return None
    if reference not in given:
        raise RecipeError(
            f"--reference {reference} is none of the evaluations that are compared",
            remedy=f"write one of them as you gave it ({', '.join(given)}), or all",
        )
    return given.index(reference)


def _on_benchmark(name: str, found: Sequence[Evaluation], reference: int | None) -> SeveralOnBenchmark:
    read = [read_verdicts(one.folder, one.system, name) for one in found]
    for _, texts in read[1:]:
        check_same_questions(read[0][1], texts, name)
    verdicts = [answers for answers, _ in read]
    comparison = compare_several(name, [one.title for one in found], verdicts, reference=reference)
    costs = tuple(read_costs(one.folder / one.system.system).get(name) for one in found)
    lines = _answer_lines(name)
    return SeveralOnBenchmark(comparison, costs, tuple(_examples(found, verdicts, lines, place) for place in range(len(found))))


def _examples(found: Sequence[Evaluation], verdicts: Sequence[Verdicts], lines: AnswerLines, place: int) -> tuple[Example, ...]:
    """The first questions that one system alone answered right: one of each language in turn, in the benchmark's order."""
    alone = {
        code: [one for one in ids if [answers[code][one] for answers in verdicts] == [at == place for at in range(len(found))]]
        for code, ids in shared_questions(verdicts).items()
    }
    turns = [(turn, order, code, ids[turn]) for order, (code, ids) in enumerate(alone.items()) for turn in range(len(ids))]
    return tuple(_example(found, lines, code, identity) for _, _, code, identity in sorted(turns)[:EXAMPLES])


def _example(found: Sequence[Evaluation], lines: AnswerLines, code: str, identity: str) -> Example:
    answered = [(one.title, lines(one, code)) for one in found]
    language = next(score.name for scores in found[0].system.benchmarks for score in scores.languages if score.language == code)
    return Example(code, language, sample_of(identity, answered))


def _answer_lines(benchmark: str) -> AnswerLines:
    """The answer lines of a benchmark by id. Each file is read once, and only if an example needs it."""

    @cache
    def read(path: Path) -> Mapping[str, Mapping[str, Any]]:
        return {str(line["id"]): line for line in JsonLines(path).read()}

    return lambda one, code: read(one.folder / one.system.system / benchmark / f"{code}.jsonl")


def write_several(folder: Path, found: SeveralCompared) -> None:
    """Write `comparison.json`, `.csv`, `.md` and `.html`.

    Raises:
        StorageError: the folder cannot be written.
    """
    write_json(folder / "comparison.json", {"format": 2, "benchmarks": [one.as_dict() for one in found.benchmarks]})
    write_text(folder / "comparison.csv", _as_csv(found))
    write_text(folder / "comparison.md", "\n".join(line for one in found.benchmarks for line in _as_markdown(one.comparison)))
    write_several_html(folder / "comparison.html", found)


def write_several_html(path: Path, found: SeveralCompared) -> None:
    """Write the comparison as one self-contained page.

    Raises:
        StorageError: the page cannot be written.
    """
    systems = [(one.folder, one.system, one.title) for one in found.evaluations]
    sections = sections_side_by_side(systems, [one.comparison.benchmark for one in found.benchmarks])
    contents = {
        "title": "; ".join(one.title for one in found.evaluations),
        "several": found.benchmarks,
        "benchmarks": sections,
        "styles": [style_of("", place) for place in range(len(systems))],
    }
    write_text(path, render("several.html.j2", contents))


def _as_csv(found: SeveralCompared) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ("benchmark", "language", "name", "tier", "questions", "system", "accuracy", "low", "high", "only", "missed")
    )
    for one in (benchmark.comparison for benchmark in found.benchmarks):
        for row in one.languages:
            for title, result, only, missed in zip(one.titles, row.results, row.only, row.missed, strict=True):
                known = (one.benchmark, row.language, row.name, row.tier, row.questions, title)
                writer.writerow((*known, result.accuracy, result.low, result.high, only, missed))
    return text.getvalue()


def _as_markdown(found: SeveralComparison) -> list[str]:
    lines = [f"## {found.benchmark}", "", f"| right answers | questions | {' | '.join(found.titles)} |"]
    lines += ["|---|--:" + "|--:" * len(found.titles) + "|"]
    for row in found.languages:
        shown = " | ".join(f"{one.accuracy:.1%} ({one.low:.1%} to {one.high:.1%})" for one in row.results)
        lines.append(f"| {row.name} ({row.language}) | {row.questions} | {shown} |")
    for mean in found.means:
        shown = " | ".join(f"{one.accuracy:.1%} ({one.low:.1%} to {one.high:.1%})" for one in mean.results)
        lines.append(f"| {mean.title} ({mean.languages} languages) | | {shown} |")
    lines += ["", "| pair | average | difference | 95% interval | Holm p |", "|---|---|--:|--:|--:|"]
    for pair in found.pairs:
        one, other = (found.titles[place] for place in (pair.first, pair.second))
        lines += [
            f"| {one} → {other} | {mean.title} | {100 * mean.difference:+.1f} | "
            f"{100 * mean.low:+.1f} to {100 * mean.high:+.1f} | {p_value(p)} |"
            for mean, p in zip(pair.comparison.means, pair.means_p_holm, strict=True)
        ]
    return [*lines, ""]
