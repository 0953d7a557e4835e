"""Finds two evaluations on the disk, compares them question by question, and writes the comparison."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lilift.evaluate.evaluator import SCORES, read_scores
from lilift.evaluate.scores.paired_comparison import Comparison, check_same_questions, compare, read_verdicts
from lilift.evaluate.scores.scores import SystemScores
from lilift.phases.report.evaluation_pages import write_comparison_page
from lilift.recipe.errors import DataError, RunFolderError
from lilift.recipe.storage import write_json, write_text


@dataclass(frozen=True)
class Evaluation:
    """One system's evaluation on the disk. `title` differs from the title of the other one."""

    folder: Path
    system: SystemScores
    title: str


@dataclass(frozen=True)
class Compared:
    """Two evaluations, and their comparison on each benchmark."""

    first: Evaluation
    second: Evaluation
    comparisons: tuple[Comparison, ...]


def compare_evaluations(first: str, second: str, *, benchmark: str | None = None) -> Compared:
    """Compare two evaluations.

    Args:
        first, second: a run, or a folder with `scores.json`; ``:system`` at its end chooses one of several systems.
        benchmark: compare only this one; None compares all benchmarks that both have.

    Raises:
        RunFolderError: there is no evaluation, or it has no such system.
        DataError: the two do not have the same questions.
    """
    one, other = with_distinct_titles([find_evaluation(first), find_evaluation(second)])
    asked = {scores.benchmark for scores in other.system.benchmarks}
    shared = [scores.benchmark for scores in one.system.benchmarks if scores.benchmark in asked]
    if benchmark is not None:
        shared = [name for name in shared if name == benchmark]
    if not shared:
        what = f"the two do not both have results on {benchmark!r}" if benchmark else "the two have no benchmark in common"
        raise DataError(what, where=f"{first}, {second}", remedy="evaluate both on the same benchmark")
    comparisons = []
    for name in shared:
        verdicts, texts = read_verdicts(one.folder, one.system, name)
        others, other_texts = read_verdicts(other.folder, other.system, name)
        check_same_questions(texts, other_texts, name)
        comparisons.append(compare(name, (one.title, other.title), verdicts, others))
    return Compared(one, other, tuple(comparisons))


def find_evaluation(given: str) -> Evaluation:
    """The evaluation at the path `given`, which may end in ``:system``.

    Raises:
        RunFolderError: there is none, or it has no such system.
    """
    path, chosen = Path(given).expanduser(), None
    if not path.exists() and ":" in path.name:
        name, _, chosen = path.name.rpartition(":")
        path = path.with_name(name)
    folder = next((place for place in (path, path / "evaluate") if (place / SCORES).is_file()), None)
    if folder is None:
        raise RunFolderError(
            f"this folder holds no evaluation ({SCORES})", where=path, remedy="give an evaluated run, or the folder that "
            "`lilift eval` printed at its end",
        )  # fmt: skip
    systems = {system.system: system for system in read_scores(folder / SCORES)}
    if chosen is None:
        chosen = "lifted" if "lifted" in systems else next(iter(systems), "")
    if chosen not in systems:
        raise RunFolderError(
            f"this evaluation has no system {chosen!r}", where=folder, remedy=f"choose from {', '.join(systems) or 'none'}"
        )
    return Evaluation(folder, systems[chosen], systems[chosen].title)


def with_distinct_titles(found: Sequence[Evaluation]) -> list[Evaluation]:
    """Add the folders to all titles if two evaluations share one. A bare title beside the others would not say whose it is."""
    if len({one.title for one in found}) == len(found):
        return list(found)
    return [_with_folder(one, found) for one in found]


def _with_folder(one: Evaluation, found: Sequence[Evaluation]) -> Evaluation:
    """The evaluation with the part of its folder that differs from the other folders."""
    mine, *others = (_distinct_parts(other) for other in (one, one, *(other for other in found if other.folder != one.folder)))
    paths = [mine, *others]
    while all(len(parts) > 1 for parts in paths) and len({parts[-1] for parts in paths}) == 1:
        paths = [parts[:-1] for parts in paths]
    most = max(len(parts) for parts in paths)
    tails = ([tuple(parts[-length:]) for parts in paths] for length in range(1, most + 1))
    # The evaluation itself is in the list twice: first, and among the others.
    tail = next((tail[0] for tail in tails if tail.count(tail[0]) == 2), (paths[0][-1],))
    return Evaluation(one.folder, one.system, f"{'/'.join(tail)}, {one.title}")


def _distinct_parts(one: Evaluation) -> list[str]:
    """The parts of a folder's path that differ between runs."""
    usual = {"evaluate", "evaluations", *(scores.benchmark for scores in one.system.benchmarks)}
    return [part for part in one.folder.resolve().parts if part not in usual]


def write_comparison(folder: Path, found: Compared) -> None:
    """Write `comparison.json`, `.csv`, `.md` and `.html`.

    Raises:
        StorageError: the folder cannot be written.
    """
    write_json(folder / "comparison.json", {"format": 1, "benchmarks": [one.as_dict() for one in found.comparisons]})
    write_text(folder / "comparison.csv", _as_csv(found))
    systems = [(one.folder, one.system, one.title) for one in (found.first, found.second)]
    write_comparison_page(folder / "comparison.html", systems, found.comparisons)
    write_text(folder / "comparison.md", "\n".join(line for one in found.comparisons for line in _as_markdown(one)))


def _as_csv(found: Compared) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = "benchmark,language,name,tier,questions,first,second,difference,only_first,only_second,p,p_holm"
    writer.writerow(header.split(","))
    for one in found.comparisons:
        for row in one.languages:
            writer.writerow(
                (
                    one.benchmark,
                    *(row.language, row.name, row.tier, row.questions, row.first, row.second, row.difference),
                    *(row.only_first, row.only_second, row.p, row.p_holm),
                )
            )
    return text.getvalue()


def _as_markdown(found: Comparison) -> list[str]:
    first, second = found.titles
    lines = [f"## {found.benchmark}: {first} → {second}", ""]
    lines += [
        f"| language | questions | {first} | {second} | difference | McNemar p | Holm p |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row.name} ({row.language}) | {row.questions} | {row.first:.1%} | {row.second:.1%} | {100 * row.difference:+.1f} | "
        f"{row.p:.3g} | {row.p_holm:.3g} |"
        for row in found.languages
    ]
    lines += ["", "| average | languages | first | second | difference | 95% interval | p |", "|---|--:|--:|--:|--:|--:|--:|"]
    lines += [
        f"| {mean.title} | {mean.languages} | {mean.first:.1%} | {mean.second:.1%} | {100 * mean.difference:+.1f} | "
        f"{100 * mean.low:+.1f} to {100 * mean.high:+.1f} | {mean.p:.3g} |"
        for mean in found.means
    ]
    return [*lines, ""]
