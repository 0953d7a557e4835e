"""The end of a run, as people and scripts read it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.cli.console import console, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lilift.evaluate.benchmarks.benchmark import Benchmark
    from lilift.evaluate.scores.response_analysis import ResponseProfile
    from lilift.evaluate.scores.scores import BenchmarkScores, SystemScores, Table
    from lilift.phases.run import FinishedRun

MOST_COLUMNS = 8
"""Languages side by side in one table; more stand below each other."""
WORTH_TELLING = 0.05
"""A share of responses that were cut off; a few ramble whatever the limit is."""


def results_as_dict(run: FinishedRun) -> dict[str, Any]:
    from lilift.evaluate.scores.scores import as_json

    return {"folder": str(run.path), "scores": as_json(run.scores)["systems"], "measured": run.measured}


def print_scores(systems: list[SystemScores]) -> None:
    """One table a benchmark, accuracy in percent: systems by languages, or languages by systems where they are many."""
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
        console().print(table(title, columns, rows, right=range(1, len(columns))))
    for system in systems:
        for scores in system.benchmarks:
            for line in (_on_sound_rows(scores), _without_answer(scores)):
                if line:
                    print(f"  {system.title}, {scores.benchmark}: {line}")


def _print_languages_by_systems(found: Table, systems: list[SystemScores], title: str) -> None:
    """A row a language, English first and then by tier, and below them the averages."""
    from lilift.evaluate.scores.scores import TIERS, on_benchmark

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
    console().print(table(title, columns, rows, right=range(2, len(columns))))


def print_what_is_asked(benchmarks: Sequence[Benchmark]) -> None:
    """How many rows each benchmark's sources hold, and how many of them are asked."""
    names = dict.fromkeys(one.name for one in benchmarks)
    for name in names:
        asked = [one for one in benchmarks if one.name == name]
        counts = {(one.rows_read, len(one.questions)) for one in asked}
        if len(counts) == 1:
            read, questions = counts.pop()
            languages = ", ".join(one.language for one in asked)
            each = f" in each of {len(asked)} languages" if len(asked) > 1 else ""
            print(f"{name}: {read} rows read and {questions} asked{each}: {languages}")
        else:
            for one in asked:
                print(f"{name} {one.language}: {one.rows_read} rows read, {len(one.questions)} asked")


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
    english = f"English {_percent(shares['en'])}%" if "en" in shares else ""
    mean = f"mean without English {_percent(sum(foreign) / len(foreign))}%" if foreign else ""
    means = ", ".join(part for part in (english, mean) if part)
    faulty = sum(score.questions - score.sound for score in scores.languages)
    return f"on sound rows alone: {means} ({faulty} rows with a known fault left out)"


def _without_answer(scores: BenchmarkScores) -> str:
    """How many responses say nothing that could be right; nothing where each has an answer."""
    asked = sum(score.questions for score in scores.languages)
    missing = sum(score.missing for score in scores.languages)
    empty = sum(score.empty for score in scores.languages)
    if not missing:
        return ""
    return f"no answer in {missing} of {asked} responses" + (f", of which {empty} are empty" if empty else "")


def print_cut_responses(profiles: Mapping[str, ResponseProfile], longest: int | None) -> None:
    """Tell where many responses did not come to their end: their answers, which stand there, are lost."""
    known = [one for one in profiles.values() if one.unended is not None]
    total = sum(one.responses for one in known)
    cut = sum(one.responses * (one.unended or 0.0) for one in known)
    if total and cut / total > WORTH_TELLING:
        at = f" of {longest} tokens" if longest else ""
        print(f"  {cut / total:.0%} of the responses were cut off at the longest response{at}: --max-new-tokens raises it")


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f}"
