"""`lilift eval merge FOLDER`: put the answers of an array of jobs together, and score them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lilift.cli.console import HelpFormatter
from lilift.cli.evaluation_output import print_evaluation


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "eval merge",
        help="put the answers of `lilift eval … --shard` together",
        description="Put the answers of all jobs of an evaluation together, and score them. They are those of one process. "
        "lilift needs the benchmark again, but no model.",
        epilog="example:\n  lilift eval runs/mine --benchmark mmwp --shard 1/2 --output all\n"
        "  lilift eval runs/mine --benchmark mmwp --shard 2/2 --output all\n"
        "  lilift eval merge all",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the --output of the jobs")
    parser.add_argument(
        "--scoring",
        choices=("lilift", "published"),
        default="lilift",
        help="published: score as the authors' code does, and print where it differs from lilift's scoring (the default)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.evaluate.dealt.shards import merge_shards

    scores, title = merge_shards(arguments.folder)
    print_evaluation(scores, arguments.folder, title, arguments, longest=None)
    return 0
