"""Measure how long `lilift --help` takes; the goal is 0.3 s.

python -m benchmarks cli_startup --check
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from benchmarks.shared.result_files import keep, report_goals

GOALS = {"median seconds": ("at most", 0.3)}


def seconds_of(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure how long `lilift --help` takes.")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--check", action="store_true", help="exit with 1 if the goal is not met")
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "lilift", "--help"]
    seconds_of(command)  # fills the file cache
    times = [seconds_of(command) for _ in range(arguments.runs)]
    found = {"median seconds": statistics.median(times), "slowest seconds": max(times)}
    keep("cli_startup", {"goals": GOALS, "summary": found, "runs": times})
    return 0 if report_goals(found, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
