"""`lilift eval compare FIRST SECOND`: compare two evaluations question by question."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.cli.console import HelpFormatter, console, print_json, table

if TYPE_CHECKING:
    from lilift.evaluate.scores.paired_comparison import Comparison


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "eval compare",
        help="compare two evaluations question by question",
        description="Compare two evaluations question by question. lilift computes McNemar's exact test for each language and "
        "a bootstrap over questions for the averages. A difference is SECOND minus FIRST.",
        epilog="examples:\n  lilift eval compare runs/baseline runs/mine\n"
        "  lilift eval compare runs/mine:control runs/mine:lifted          two systems of one run\n"
        "  lilift eval compare evaluations/Llama-2-7b/mmwp runs/mine/evaluations/mmwp --output comparison",
        formatter_class=HelpFormatter,
    )
    for name, order in (("first", "FIRST"), ("second", "SECOND")):
        parser.add_argument(
            name, metavar=order, help="a run, or a folder with scores.json; add `:system` to choose one of several"
        )
    parser.add_argument("--benchmark", metavar="NAME", help="compare only this one (default: all that both have)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="also write comparison.html, .json, .csv and .md")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.phases.compare_evaluations import compare_evaluations, write_comparison

    found = compare_evaluations(arguments.first, arguments.second, benchmark=arguments.benchmark)
    if arguments.output:
        write_comparison(arguments.output, found)
    if arguments.json:
        print_json([one.as_dict() for one in found.comparisons])
        return 0
    for one in found.comparisons:
        _print(one)
    if arguments.output:
        print(f"written: {arguments.output}/comparison.html, .json, .csv, .md")
    return 0


def _print(found: Comparison) -> None:
    from lilift.evaluate.scores.paired_comparison import p_value

    first, second = found.titles
    rows: list[Sequence[str]] = [
        (
            one.name,
            str(one.questions),
            f"{100 * one.first:.1f}",
            f"{100 * one.second:.1f}",
            f"{100 * one.difference:+.1f}",
            f"{one.only_first} / {one.only_second}",
            p_value(one.p),
            p_value(one.p_holm),
        )
        for one in found.languages
    ]
    columns = ("right answers in %", "questions", first, second, "difference", "only one right", "McNemar p", "Holm p")
    console().print(table(f"{found.benchmark}: {first} → {second}", columns, rows, right=range(1, len(columns))))
    for mean in found.means:
        print(
            f"  {mean.title} ({mean.languages}): {100 * mean.first:.1f} → {100 * mean.second:.1f}, difference "
            f"{100 * mean.difference:+.1f}, 95% interval {100 * mean.low:+.1f} to {100 * mean.high:+.1f}, p {p_value(mean.p)}"
        )
    if found.unpaired:
        print(f"  {found.unpaired} questions are left out because only one of the two answered them")
