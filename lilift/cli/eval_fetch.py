"""`lilift eval fetch BENCHMARK`: download a benchmark's files from its authors' address."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from lilift.cli.console import HelpFormatter
from lilift.recipe.terminal import is_terminal

FETCHED = (
    *("mgsm", "belebele", "sib200", "xnli", "polymath-low", "polymath-medium", "polymath-high", "polymath-top"),
    *("mmwp", "msvamp", "xcsqa"),
)
"""Benchmarks with a public address and a known sum for each file."""


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "eval fetch",
        help="download a benchmark's files from its authors' address",
        description="Download a benchmark's files from its authors' address, and check each file's SHA-256. After an "
        "interruption, repeat the same command to continue.",
        epilog="examples:\n  lilift eval fetch mgsm\n  lilift eval fetch sib200 --to ./sib200",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("benchmark", choices=FETCHED, metavar="BENCHMARK", help=f"the benchmark: {', '.join(FETCHED)}")
    parser.add_argument("--to", type=Path, metavar="DIR", help="folder to write (default: the cache that `lilift eval` reads)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.evaluate.benchmarks.benchmark_fetch import PUBLIC, fetch
    from lilift.evaluate.benchmarks.benchmark_places import fetched_folder

    source = PUBLIC[arguments.benchmark]
    folder = arguments.to.expanduser() if arguments.to else fetched_folder(arguments.benchmark)
    print(f"from     {source.host}/{source.place}")
    print(f"licence  {source.licence}", flush=True)
    on_screen = is_terminal(sys.stdout)

    def progress(done: int, total: int) -> None:
        if on_screen:
            print(f"\r{done} of {total} files", end="" if done < total else "\n", flush=True)

    fetched = fetch(arguments.benchmark, folder, progress=progress)
    print(f"downloaded {fetched} files, the others were already there; every SHA-256 is right: {folder}")
    return 0
