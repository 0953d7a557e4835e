"""Write the results of every benchmark: one JSON file with the machine, the versions and the command."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parents[1]
FOLDER = BENCHMARKS / "results"


def commit_of(checkout: Path) -> str:
    """The short hash of a checkout's commit, for benchmarks that compare two checkouts."""
    done = subprocess.run(["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def keep(name: str, found: Mapping[str, Any], output: Path | None = None) -> Path:
    """Write ``benchmarks/results/<name>.json``, or to `output`."""
    # Imported here, because goals can be reported without the packages that it needs.
    from lilift.phases.environment import describe_environment

    path = output or FOLDER / f"{name}.json"
    content = {
        "command": " ".join(["python -m benchmarks", Path(sys.argv[0]).stem, *map(_without_folder, sys.argv[1:])]),
        "date": datetime.date.today().isoformat(),
        "environment": describe_environment(),
        **found,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _without_folder(word: str) -> str:
    """An argument without the folders of this machine: `/home/me/models/llm` becomes `llm`."""
    option, equals, value = word.rpartition("=")
    return f"{option}{equals}{Path(value).name}" if Path(value).is_absolute() else word


def benchmark_command(name: str) -> list[str]:
    """The first words of a command that runs a benchmark in a process of its own, from any folder."""
    return [sys.executable, str(BENCHMARKS), name]


def data_parser(description: str) -> argparse.ArgumentParser:
    """The options of a benchmark that reads published data files; see `parse_with_data`."""
    parser = argparse.ArgumentParser(description=description)
    folder = Path(os.environ.get("LILIFT_SHARED_DATA", "no-data"))
    parser.add_argument("--data", type=Path, default=folder, help="folder with the data files (default: $LILIFT_SHARED_DATA)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    return parser


def parse_with_data(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments of a `data_parser`; ends the program if the folder does not exist."""
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        parser.error("name the folder with the data files: --data FOLDER or LILIFT_SHARED_DATA")
    return arguments


def report_goals(found: Mapping[str, float], goals: Mapping[str, tuple[str, float]]) -> bool:
    """Print each goal beside the measured value, and return whether all measured goals are met.

    Args:
        found: the measured values, by name.
        goals: by name, ``("at least", 0.6)`` or ``("at most", 0.3)``.
    """
    all_met = True
    for name, (kind, limit) in goals.items():
        met = goal_met(found, name, kind, limit)
        if met is None:
            print(f"-        {name}: not measured, {kind} {limit:g}")
            continue
        all_met &= met
        print(f"{'met    ' if met else 'NOT MET'}  {name}: {found[name]:.4g}, {kind} {limit:g}")
    return all_met


def goal_met(found: Mapping[str, float], name: str, kind: str, limit: float) -> bool | None:
    """Whether a goal is met; None if it was not measured."""
    if name not in found:
        return None
    return found[name] >= limit if kind == "at least" else found[name] <= limit
