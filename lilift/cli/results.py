"""The end of a run, as people and scripts read it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.cli.console import console, table

if TYPE_CHECKING:
    from lilift.evaluate.scores import BenchmarkScores, SystemScores
    from lilift.phases.run import FinishedRun


def results_as_dict(run: FinishedRun) -> dict[str, Any]:
    from lilift.evaluate.scores import as_json

    return {"folder": str(run.path), "scores": as_json(run.scores)["systems"], "measured": run.measured}


def print_scores(systems: list[SystemScores]) -> None:
    """One table a benchmark: systems by languages, accuracy in percent."""
    from lilift.evaluate.scores import tables

    for found in tables(systems):
        rows = [
            (row.title, *(_percent(share) for share in row.accuracies), _percent(row.macro)) for row in found.rows
        ]  # fmt: skip
        columns = ("accuracy in %", *found.names, "mean without English")
        console().print(table(f"{found.benchmark}: right answers", columns, rows, right=range(1, len(columns))))
    for system in systems:
        for scores in system.benchmarks:
            if line := _on_sound_rows(scores):
                print(f"  {system.title}, {scores.benchmark}: {line}")


def print_scoring_differences(system: SystemScores) -> None:
    """One table a benchmark: right answers by lilift's scoring and by the authors', and how many only one of them counts."""
    for scores in system.benchmarks:
        rows = [
            (
                score.name,
                str(score.questions),
                _percent(score.accuracy),
                _percent(score.published_accuracy),
                str(score.lilift_only),
                str(score.published_only),
            )
            for score in scores.languages
        ]
        columns = ("right answers in %", "questions", "lilift", "published", "right for lilift alone", "for published alone")
        console().print(
            table(f"{scores.benchmark}: where the two scorings differ", columns, rows, right=range(1, len(columns)))
        )


def print_results(run: FinishedRun) -> None:
    """The table, where everything is, and what to type next."""
    print()
    print_scores(run.scores)
    for phase, figures in run.measured.items():
        predicted = f", {figures['predicted_mib']:,.0f} predicted" if "predicted_mib" in figures else ""
        print(f"  {phase:<9} {figures['seconds']:7.1f} s   peak {figures['peak_mib']:7,.0f} MiB{predicted}")
    print(f"\nrun folder   {run.path}")
    print(f"report       {run.path / 'report.html'}")
    print("\nnext")
    for command, meaning in _next_steps(run):
        print(f"  {command:<54} {meaning}")


def _next_steps(run: FinishedRun) -> list[tuple[str, str]]:
    steps = [(f"lilift chat {run.path}", "ask it something")] if (run.path / "transfer" / "done.json").exists() else []
    example = _example_question(run.path)
    if steps and example:
        steps.insert(0, (f'lilift chat {run.path} "{example}"', ""))
    steps += [
        (f"lilift export {run.path} --output my-model", "merged weights for Hugging Face tools"),
        ("lilift recipe plan llama-7b-24gb", "the same with a 7B LLM on a 24 GB card"),
    ]
    return steps


def _example_question(run: Path) -> str | None:
    """A question in one of the run's languages that it has answered rightly."""
    from lilift.recipe.storage import JsonLines

    for path in sorted((run / "evaluate" / "lifted").glob("*/*.jsonl")):
        if path.stem == "en":
            continue
        for answer in JsonLines(path).read():
            if answer["correct"] and '"' not in answer["question"]:
                return str(answer["question"])
    return None


def _on_sound_rows(scores: BenchmarkScores) -> str:
    """The averages on rows without a known fault; nothing where every row is sound."""
    if all(score.sound == score.questions for score in scores.languages):
        return ""
    shares = {score.language: share for score in scores.languages if (share := score.sound_accuracy) is not None}
    foreign = [share for language, share in shares.items() if language != "en"]
    english = f"English {_percent(shares['en'])}" if "en" in shares else ""
    mean = f"mean without English {_percent(sum(foreign) / len(foreign))}" if foreign else ""
    faulty = sum(score.questions - score.sound for score in scores.languages)
    return (
        f"on sound rows alone {', '.join(part for part in (english, mean) if part)} ({faulty} rows with a known fault left out)"
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f}"
