"""Printing of a run's results: scores, time and memory of each phase, and the commands to type next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.cli.console import print_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lilift.evaluate.benchmarks.benchmark import Benchmark
    from lilift.evaluate.scores.response_analysis import ResponseProfile
    from lilift.evaluate.scores.scores import BenchmarkScores, SystemScores, Table
    from lilift.phases.run import FinishedRun

MOST_COLUMNS = 8
"""Most languages that a table shows as columns. With more languages, each one is a row."""
LONGEST_ALIGNED = 60
"""Longer commands do not move the notes of the shorter ones to the right."""
WORTH_TELLING = 0.05
"""lilift reports cut-off responses above this share. A few responses never end, whatever the limit is."""


def results_as_dict(run: FinishedRun) -> dict[str, Any]:
    from lilift.evaluate.scores.scores import as_json

    return {"folder": str(run.path), "scores": as_json(run.scores)["systems"], "measured": run.measured}


def print_scores(systems: list[SystemScores]) -> None:
    """Print one table for each benchmark, in percent: one row for each system, or for each language if there are many."""
    from lilift.evaluate.scores.scores import tables

    for found in tables(systems):
        title = f"{found.benchmark}: right answers"
        if len(found.names) > MOST_COLUMNS:
            _print_languages_by_systems(found, systems, title)
            continue
        rows = [
            (row.title, *(_percent(share) for share in row.accuracies), _percent(row.macro)) for row in found.rows
        ]  # fmt: skip
        columns = ("accuracy in %", *found.names, "mean without English")
        print_table(title, columns, rows, right=range(1, len(columns)))
    for system in systems:
        for scores in system.benchmarks:
            for line in (_on_sound_rows(scores), _without_answer(scores)):
                if line:
                    print(f"  {system.title}, {scores.benchmark}: {line}")


def _print_languages_by_systems(found: Table, systems: list[SystemScores], title: str) -> None:
    """Print one row for each language, English first and then by tier, and the averages below."""
    from lilift.evaluate.scores.scores import TIERS, TIERS_EXPLAINED, on_benchmark

    asked = [scores for system in systems if (scores := on_benchmark(system, found.benchmark))]
    tiers = {score.language: score.tier for scores in asked for score in scores.languages}
    places = sorted(
        range(len(found.languages)),
        key=lambda place: (found.languages[place] != "en", -TIERS.index(tiers[found.languages[place]]), place),
    )
    rows = [
        (
            found.names[place],
            "" if found.languages[place] == "en" else tiers[found.languages[place]],
            *(_percent(row.accuracies[place]) for row in found.rows),
        )
        for place in places
    ]
    for tier in reversed(TIERS):
        means = [next((one for one in scores.tiers if one.tier == tier), None) for scores in asked]
        if any(means):
            count = max(len(one.languages) for one in means if one)
            rows.append((f"mean of {count}", tier, *(_percent(one.accuracy if one else None) for one in means)))
    rows.append(("mean without English", "", *(_percent(row.macro) for row in found.rows)))
    columns = ("accuracy in %", "tier", *(row.title for row in found.rows))
    print_table(title, columns, rows, right=range(2, len(columns)))
    print(f"tier: {TIERS_EXPLAINED}")


def print_question_counts(benchmarks: Sequence[Benchmark]) -> None:
    """Print how many rows each benchmark's sources hold, and how many questions of them the model answers."""
    names = dict.fromkeys(one.name for one in benchmarks)
    for name in names:
        asked = [one for one in benchmarks if one.name == name]
        counts = {(one.rows_read, len(one.questions), one.left_out) for one in asked}
        if len(counts) == 1:
            read, questions, _ = counts.pop()
            languages = ", ".join(one.language for one in asked)
            each = f" in each of {len(asked)} languages" if len(asked) > 1 else ""
            print(f"{name}: {read} rows read, {questions} questions to answer{each}: {languages}")
        else:
            for one in asked:
                print(f"{name} {one.language}: {one.rows_read} rows read, {len(one.questions)} questions to answer")
        if left_out := max(one.left_out for one in asked):
            print(f"{name}: lilift leaves out {left_out} rows whose answers are not numbers, because it cannot judge them")


def print_scoring_differences(system: SystemScores) -> None:
    """Print for each benchmark the right answers by lilift's scoring and by the authors', and how many only one counts."""
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
        columns = ("right answers in %", "questions", "lilift", "published", "only lilift", "only published")
        print_table(f"{scores.benchmark}: where the two scorings differ", columns, rows, right=range(1, len(columns)))


def print_results(run: FinishedRun, resume: str) -> None:
    """Print the scores, the time and memory of each phase, the paths of the results, and the next commands.

    Args:
        run: the run, finished or stopped after a phase that the user named.
        resume: the command that continues it.
    """
    print()
    print_scores(run.scores)
    for phase, figures in run.measured.items():
        predicted = ""
        if "predicted_mib" in figures:
            share = figures["peak_mib"] / figures["predicted_mib"] - 1
            predicted = f", {figures['predicted_mib']:,.0f} predicted ({share:+.0%})"
        print(f"  {phase:<9} {figures['seconds']:7.1f} s   peak {figures['peak_mib']:7,.0f} MiB{predicted}")
    print(f"\nrun folder   {run.path}")
    print(f"report       {run.path / 'report.html'}")
    print("\nnext")
    print_commands(next_steps(run, resume))


def next_steps(run: FinishedRun, resume: str) -> list[tuple[str, str]]:
    """The commands that make sense after a run, each with what it does."""
    from lilift.phases.model_check.recipe_models import can_be_gguf
    from lilift.phases.run_folder import wanted_phases

    folder, exported = shlex.quote(str(run.path)), run.path / "export"
    left = [phase for phase in wanted_phases(run.recipe) if not (run.path / phase / "done.json").exists()]
    steps = [(resume, f"continue with {', '.join(left)}")] if left else []
    if set(left) & set(run.recipe.stages):
        return steps  # there is no trained model yet
    example = _example_question(run.path)
    if example:
        steps.append((f"lilift chat {folder} {shlex.quote(example)}", "a question that it answers right"))
    steps.append((f"lilift chat {folder}", "ask questions in the terminal"))
    if any(exported.rglob("*.gguf")):
        steps.append((f"lilift serve {shlex.quote(str(exported))}", "a web page, and an endpoint for other programs"))
    elif can_be_gguf(run.recipe):
        steps.append((f"lilift export {folder} --to gguf --output my-model", "write files for llama.cpp and Ollama"))
    elif run.recipe.can_be_exported and "export" not in left and not (exported / "hf").exists():
        steps.append((f"lilift export {folder} --to hf --output my-model", "write files for Hugging Face tools"))
    if not left and run.recipe.name in ("tiny-cpu", "smollm2-135m-cpu"):
        steps.append(("lilift recipe new", "write a recipe for your own language"))
    return steps


def print_commands(commands: Sequence[tuple[str, str]]) -> None:
    """Print commands with what they do: one a line, as a shell takes them. lilift never wraps these lines."""
    width = max((len(command) for command, _ in commands if len(command) <= LONGEST_ALIGNED), default=0)
    for command, meaning in commands:
        print(f"  {command:<{width}}  # {meaning}")


def _example_question(run: Path) -> str | None:
    """A question in one of the run's languages (not English) that the trained model answered right; None without one."""
    from lilift.recipe.storage import JsonLines

    for path in sorted((run / "evaluate" / "lifted").glob("*/*.jsonl")):
        if path.stem == "en":
            continue
        for answer in JsonLines(path).read():
            if answer["correct"] and not {'"', "\n"} & set(answer["question"]):
                return str(answer["question"])
    return None


def _on_sound_rows(scores: BenchmarkScores) -> str:
    """The averages on the rows without a known fault; empty if no row has one."""
    if all(score.sound == score.questions for score in scores.languages):
        return ""
    shares = {score.language: share for score in scores.languages if (share := score.sound_accuracy) is not None}
    foreign = [share for language, share in shares.items() if language != "en"]
    english = f"English {_percent(shares['en'])}%" if "en" in shares else ""
    mean = f"mean without English {_percent(sum(foreign) / len(foreign))}%" if foreign else ""
    means = ", ".join(part for part in (english, mean) if part)
    faulty = sum(score.questions - score.sound for score in scores.languages)
    return f"without the {faulty} rows that have a known fault: {means}"


def _without_answer(scores: BenchmarkScores) -> str:
    """How many responses have no answer that lilift can read; empty if every response has one."""
    asked = sum(score.questions for score in scores.languages)
    missing = sum(score.missing for score in scores.languages)
    empty = sum(score.empty for score in scores.languages)
    if not missing:
        return ""
    return f"no answer in {missing} of {asked} responses" + (f", of which {empty} are empty" if empty else "")


def print_cut_responses(profiles: Mapping[str, ResponseProfile], longest: int | None) -> None:
    """Print a warning if many responses were cut off: the answer is at the end of a response, so it is lost."""
    known = [one for one in profiles.values() if one.unended is not None]
    total = sum(one.responses for one in known)
    cut = sum(one.responses * (one.unended or 0.0) for one in known)
    if total and cut / total > WORTH_TELLING:
        limit = f"limit of {longest} tokens" if longest else "token limit"
        print(f"  {cut / total:.0%} of the responses were cut off at the {limit}: set --max-new-tokens higher")


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f}"
