"""`lilift eval compare FIRST SECOND [MORE …]`: compare evaluations question by question."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.cli.console import HelpFormatter, print_json, print_table

if TYPE_CHECKING:
    from lilift.evaluate.scores.paired_comparison import Comparison


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "eval compare",
        help="compare evaluations question by question",
        description="Compare two or more evaluations question by question. lilift computes McNemar's exact test for each "
        "language and a bootstrap over questions for the averages. A difference of two is SECOND minus FIRST. With more than "
        "two, lilift shows one table, and tests each of them against a reference.",
        epilog="examples:\n  lilift eval compare runs/baseline runs/mine\n"
        "  lilift eval compare runs/mine:control runs/mine:lifted        # two systems of one run\n"
        "  lilift eval compare runs/mine evaluations/pivot/mmwp evaluations/Qwen3-8B/mmwp --html comparison.html\n"
        "  lilift eval compare evaluations/Llama-2-7b/mmwp runs/mine/evaluations/mmwp --output comparison",
        formatter_class=HelpFormatter,
    )
    for name, order in (("first", "FIRST"), ("second", "SECOND")):
        parser.add_argument(
            name, metavar=order, help="a run, or a folder with scores.json; add `:system` to choose one of several"
        )
    parser.add_argument("more", metavar="MORE", nargs="*", help="more evaluations, at most eight altogether")
    parser.add_argument(
        "--reference",
        metavar="EVALUATION",
        help="test the others against this one of the given evaluations, or `all` to test every pair (default: the first)",
    )
    parser.add_argument("--benchmark", metavar="NAME", help="compare only this one (default: all that both have)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write everything as one page")
    parser.add_argument("--output", type=Path, metavar="DIR", help="also write comparison.html, .json, .csv and .md")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.phases.comparison.compare_evaluations import compare_evaluations, write_comparison
    from lilift.phases.comparison.compare_several_evaluations import (
        compare_several_evaluations,
        reference_place,
        write_several_html,
    )

    given = [arguments.first, arguments.second, *arguments.more]
    if len(given) > 2:
        return _run_several(given, arguments)
    if reference_place(given, arguments.reference) == 1:
        given.reverse()
    found = compare_evaluations(*given, benchmark=arguments.benchmark)
    if arguments.output:
        write_comparison(arguments.output, found)
    if arguments.html:
        write_several_html(arguments.html, compare_several_evaluations(given, benchmark=arguments.benchmark))
    if arguments.json:
        print_json([one.as_dict() for one in found.comparisons])
        return 0
    for one in found.comparisons:
        _print(one)
    _print_written(arguments)
    return 0


def _run_several(given: list[str], arguments: argparse.Namespace) -> int:
    from lilift.cli.comparison_output import print_several
    from lilift.phases.comparison.compare_several_evaluations import (
        compare_several_evaluations,
        write_several,
        write_several_html,
    )

    found = compare_several_evaluations(given, reference=arguments.reference, benchmark=arguments.benchmark)
    if arguments.output:
        write_several(arguments.output, found)
    if arguments.html:
        write_several_html(arguments.html, found)
    if arguments.json:
        print_json([one.as_dict() for one in found.benchmarks])
        return 0
    for one in found.benchmarks:
        print_several(one, given)
    _print_written(arguments)
    return 0


def _print_written(arguments: argparse.Namespace) -> None:
    if arguments.output:
        print(f"written: {arguments.output}/comparison.html, .json, .csv, .md")
    if arguments.html:
        print(f"written: {arguments.html}")


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
    print_table(f"{found.benchmark}: {first} → {second}", columns, rows, right=range(1, len(columns)))
    for mean in found.means:
        print(
            f"  {mean.title} ({mean.languages}): {100 * mean.first:.1f} → {100 * mean.second:.1f}, difference "
            f"{100 * mean.difference:+.1f}, 95% interval {100 * mean.low:+.1f} to {100 * mean.high:+.1f}, p {p_value(mean.p)}"
        )
    if found.unpaired:
        print(f"  {found.unpaired} questions are left out because only one of the two answered them")
