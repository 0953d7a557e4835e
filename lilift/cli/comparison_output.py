"""Prints the comparison of several evaluations: accuracy, tests, what each adds, and what it costs."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lilift.cli.console import print_table

if TYPE_CHECKING:
    from lilift.evaluate.answering_cost import AnsweringCost
    from lilift.evaluate.scores.several_comparison import Accuracy
    from lilift.phases.comparison.compare_several_evaluations import SeveralOnBenchmark


def print_several(found: SeveralOnBenchmark, given: Sequence[str]) -> None:
    """Print one benchmark. Letters stand for the systems, because their names are too long for the columns."""
    comparison = found.comparison
    letters = string.ascii_uppercase[: len(given)]
    print(f"{comparison.benchmark}:")
    for letter, title, name in zip(letters, comparison.titles, given, strict=True):
        print(f"  {letter}  {title} ({name})")
    rows = [(row.name, str(row.questions), *map(_accuracy, row.results)) for row in comparison.languages]
    rows += [(f"{mean.title} ({mean.languages})", "", *map(_accuracy, mean.results)) for mean in comparison.means]
    columns = ("right answers in % (95% interval)", "questions", *letters)
    print_table(None, columns, rows, right=range(1, len(columns)))
    _print_tests(found, letters)
    _print_outcomes(found, letters)
    if comparison.unpaired:
        left_out = f"; languages left out: {', '.join(comparison.left_out)}" if comparison.left_out else ""
        print(f"  {comparison.unpaired} answers are left out because not all systems answered these questions{left_out}")


def _print_tests(found: SeveralOnBenchmark, letters: str) -> None:
    from lilift.evaluate.scores.paired_comparison import p_value

    pairs = found.comparison.pairs
    rows = [
        (
            row.name,
            *(
                f"{100 * pair.comparison.languages[place].difference:+.1f} ({p_value(pair.comparison.languages[place].p_holm)})"
                for pair in pairs
            ),
        )
        for place, row in enumerate(found.comparison.languages)
    ]
    columns = ("difference in points (McNemar p, Holm)", *(f"{letters[pair.second]} − {letters[pair.first]}" for pair in pairs))
    print_table(None, columns, rows, right=range(1, len(columns)))
    for pair in pairs:
        for mean, p in zip(pair.comparison.means, pair.means_p_holm, strict=True):
            print(
                f"  {letters[pair.second]} − {letters[pair.first]}, {mean.title} ({mean.languages}): "
                f"{100 * mean.difference:+.1f}, 95% interval {100 * mean.low:+.1f} to {100 * mean.high:+.1f}, "
                f"Holm p {p_value(p)}"
            )


def _print_outcomes(found: SeveralOnBenchmark, letters: str) -> None:
    languages = found.comparison.languages
    rows = [
        (letter, str(found.alone(place)), str(found.missed(place)), *_cost(found.costs[place]))
        for place, letter in enumerate(letters)
    ]
    columns = ("", "right, all others wrong", "wrong, all others right", "seconds a question", "GiB")
    print_table(None, columns, rows, right=range(1, len(columns)))
    total = sum(row.questions for row in languages)
    print(
        f"  all right: {sum(row.all_right for row in languages)}, none right: {sum(row.none_right for row in languages)}, "
        f"of {total} questions in {len(languages)} languages"
    )


def _accuracy(one: Accuracy) -> str:
    return f"{100 * one.accuracy:.1f} ({100 * one.low:.0f}–{100 * one.high:.0f})"


def _cost(one: AnsweringCost | None) -> tuple[str, str]:
    """Seconds and GiB as text; a dash where lilift recorded nothing."""
    if one is None:
        return "–", "–"
    memory = "–" if one.peak_gib is None else f"{one.peak_gib:.1f} {'GPU' if one.memory == 'gpu' else 'host'}"
    return f"{one.seconds_a_question:.3g}", memory
