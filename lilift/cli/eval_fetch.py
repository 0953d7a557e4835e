"""`lilift eval fetch BENCHMARK`: a benchmark's files from where its authors published them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "eval fetch",
        help="a benchmark's files from where its authors published them",
        description="Download a benchmark's files from its authors' address, and check each file's SHA-256. The same call "
        "after an interruption goes on.",
        epilog="examples:\n  lilift eval fetch mmwp\n  lilift eval fetch mgsm --to ./mgsm",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("benchmark", choices=("mmwp", "mgsm", "msvamp", "xnli", "xcsqa"), help="what to fetch")
    parser.add_argument("--to", type=Path, metavar="DIR", help="where to (default: the cache that `lilift eval` looks in)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.evaluate.benchmarks.benchmark import fetched_folder
    from lilift.evaluate.benchmarks.benchmark_fetch import PUBLIC, fetch

    source = PUBLIC[arguments.benchmark]
    folder = arguments.to.expanduser() if arguments.to else fetched_folder(arguments.benchmark)
    print(f"from     {source.host}/{source.place}")
    print(f"licence  {source.licence}", flush=True)
    on_screen = sys.stdout.isatty()

    def progress(done: int, total: int) -> None:
        if on_screen:
            print(f"\r{done} of {total} files", end="" if done < total else "\n", flush=True)

    fetched = fetch(arguments.benchmark, folder, progress=progress)
    print(f"{fetched} files fetched, the others were there; every SHA-256 is right: {folder}")
    return 0
