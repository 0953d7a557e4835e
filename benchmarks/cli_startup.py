"""Measure how soon the commands of the first minutes answer: `--help`, `recipe validate`, and the first line of `recipe plan`.

    python -m benchmarks cli_startup --check
    python -m benchmarks cli_startup --against ../other-copy --runs 7

The goal is 0.3 s for `--help`. `--against` runs each command in turn with the code of this folder and with that of another
copy, and reports the ratio of their processor seconds: on a busy machine, the seconds of the clock mean little.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil

from benchmarks.shared.result_files import keep, report_goals

GOALS = {"median seconds": ("at most", 0.3)}
COMMANDS = {
    "--help": ["--help"],
    "recipe validate": ["recipe", "validate", "tiny-cpu"],
    "recipe plan, first line": ["recipe", "plan", "tiny-cpu"],
}
FIRST_WORDS = (b"usage:", b"tiny-cpu")
HERE = Path(__file__).resolve().parents[1]


def seconds_of(arguments: list[str], code: Path = HERE) -> tuple[float, float]:
    """Seconds by the clock and of a processor until lilift's first line, with the code of a copy of the repository."""
    command = [sys.executable, "-m", "lilift", *arguments]
    environment = os.environ | {"PYTHONPATH": f"{code}{os.pathsep}{code / 'kernels'}"}
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, cwd=code) as process:
        assert process.stdout is not None
        # Libraries may print warnings before it.
        assert any(line.startswith(FIRST_WORDS) for line in process.stdout), f"{command} printed nothing of its own"
        seconds = time.perf_counter() - started
        used = psutil.Process(process.pid).cpu_times()
        process.kill()  # the rest is not waited for
    return seconds, used.user + used.system


def measure(name: str, runs: int, other: Path | None) -> dict[str, object]:
    """Seconds of one command here and, if it is given, in the other copy, in turn."""
    here, there = [], []
    for number in range(runs + 1):
        pair = [seconds_of(COMMANDS[name]), seconds_of(COMMANDS[name], other) if other else (0.0, 0.0)]
        if number:  # the first pair fills the file cache
            here.append(pair[0])
            there.append(pair[1])
    clock = [seconds for seconds, _ in here]
    found: dict[str, object] = {"median seconds": statistics.median(clock), "slowest seconds": max(clock), "runs": clock}
    found["median processor seconds"] = statistics.median(used for _, used in here)
    if other:
        ratios = [one / two for (_, one), (_, two) in zip(here, there, strict=True)]
        found["other copy, median processor seconds"] = statistics.median(used for _, used in there)
        found |= {"ratio of processor seconds, median of pairs": statistics.median(ratios), "ratios": ratios}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure how soon the commands of the first minutes answer.")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="another copy of the repository to compare with")
    parser.add_argument("--check", action="store_true", help="exit with 1 if the goal is not met")
    arguments = parser.parse_args()
    other = arguments.against.resolve() if arguments.against else None
    commands = {name: measure(name, arguments.runs, other) for name in COMMANDS}
    for name, found in commands.items():
        share = found.get("ratio of processor seconds, median of pairs")
        ratio = "" if share is None else f", {share:.2f} times the processor time of the other copy"
        print(f"{name:<24} {found['median seconds']:.3f} s{ratio}")
    summary = {name: commands["--help"][name] for name in ("median seconds", "slowest seconds")}
    # A comparison has a file of its own: its seconds come from a busy machine, and only its ratios mean something.
    keep("cli_startup_pairs" if other else "cli_startup", {"goals": GOALS, "summary": summary, "commands": commands})
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
