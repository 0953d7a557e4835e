"""Measure how soon the commands of the first minutes answer: `--help`, `recipe validate` and `recipe plan`.

    python -m benchmarks cli_startup --check
    python -m benchmarks cli_startup --against ../other-copy --runs 7

The goal is 0.3 s for `--help`, half a processor second for `recipe validate`, and a processor second until `recipe plan` prints
its first line. `--against` runs each command in turn with the code of this folder and of another copy, and reports the
ratio of their processor seconds: on a busy machine, the seconds of the clock mean little.

`floor` is what a command cannot do without: Python and the libraries that read a recipe; and for models on the hub, the hub's
client, which asks once for each of them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.shared.result_files import commit_of, keep, report_goals

_ASKS_THE_HUB = """
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
for name in ("meta-llama/Llama-2-7b-hf", "DKYoon/mt5-xl-lm-adapt"):
    if not isinstance(try_to_load_from_cache(name, "config.json"), str):
        try:
            get_hf_file_metadata(hf_hub_url(name, "config.json"))
        except Exception:
            pass
"""
FLOOR = "import pydantic, yaml; pydantic.create_model('Recipe', name=(str, ...))(name='')"
COMMANDS = {
    "--help": ["-m", "lilift", "--help"],
    "recipe validate tiny-cpu": ["-m", "lilift", "recipe", "validate", "tiny-cpu"],
    "recipe validate llama-7b-24gb": ["-m", "lilift", "recipe", "validate", "llama-7b-24gb"],
    "recipe plan tiny-cpu, first line": ["-m", "lilift", "recipe", "plan", "tiny-cpu"],
    "recipe plan llama-7b-24gb, first line": ["-m", "lilift", "recipe", "plan", "llama-7b-24gb"],
    "recipe plan llama-7b-24gb, whole": ["-m", "lilift", "recipe", "plan", "llama-7b-24gb"],
    "floor": ["-c", FLOOR],
    "floor, models on the hub": ["-c", FLOOR + _ASKS_THE_HUB],
}
FIRST_LINE = ", first line"
GOALS = {
    "--help, seconds": ("at most", 0.3),
    "recipe validate tiny-cpu, processor seconds": ("at most", 0.5),
    "recipe validate llama-7b-24gb, processor seconds": ("at most", 0.5),
    "recipe plan llama-7b-24gb, first line, processor seconds": ("at most", 1.0),
    "recipe plan llama-7b-24gb, whole, ratio to the other copy": ("at most", 0.6),
}
FIRST_WORDS = (b"tiny-cpu", b"llama-7b-24gb")
HERE = Path(__file__).resolve().parents[1]


def seconds_of(command: Sequence[str], code: Path = HERE, *, first_line: bool = False) -> tuple[float, float]:
    """Seconds by the clock and of a processor of a command with the code of a copy of the repository.

    Args:
        command: arguments of Python.
        code: the copy.
        first_line: stop at lilift's first line.
    """
    environment = os.environ | {"PYTHONPATH": f"{code}{os.pathsep}{code / 'kernels'}"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # users have compiled modules from the second command on
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, cwd=code
    ) as process:
        assert process.stdout is not None
        if first_line:  # libraries may print warnings before it
            assert any(line.startswith(FIRST_WORDS) for line in process.stdout), f"{command} printed nothing of its own"
            seconds = time.perf_counter() - started
            used = psutil.Process(process.pid).cpu_times()
            process.kill()  # the rest is not waited for
            return seconds, used.user + used.system
        output = process.stdout.read()
        _, status, resources = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, f"{command} failed: {output.decode()[-500:]}"
    return time.perf_counter() - started, resources.ru_utime + resources.ru_stime


def measure(name: str, runs: int, other: Path | None) -> dict[str, object]:
    """Seconds of one command here and, if it is given, in the other copy, in turn."""
    here, there = [], []
    for number in range(runs + 1):
        pair = [
            seconds_of(COMMANDS[name], code, first_line=name.endswith(FIRST_LINE)) if code else (0.0, 0.0)
            for code in (HERE, other)
        ]
        if number:  # the first pair fills the file cache
            here.append(pair[0])
            there.append(pair[1])
    clock = [seconds for seconds, _ in here]
    found: dict[str, object] = {"median seconds": statistics.median(clock), "slowest seconds": max(clock), "runs": clock}
    found["median processor seconds"] = statistics.median(used for _, used in here)
    found["processor seconds"] = [used for _, used in here]
    if other:
        ratios = [one / two for (_, one), (_, two) in zip(here, there, strict=True)]
        found["other copy, median processor seconds"] = statistics.median(used for _, used in there)
        found["other copy, processor seconds"] = [used for _, used in there]
        found |= {"ratio of processor seconds, median of pairs": statistics.median(ratios), "ratios": ratios}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure how soon the commands of the first minutes answer.")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="another copy of the repository to compare with")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    arguments = parser.parse_args()
    other = arguments.against.resolve() if arguments.against else None
    commands = {name: measure(name, arguments.runs, None if name.startswith("floor") else other) for name in COMMANDS}
    summary: dict[str, float] = {}
    for name, found in commands.items():
        share = found.get("ratio of processor seconds, median of pairs")
        ratio = "" if share is None else f", {share:.2f} times the processor time of the other copy"
        print(f"{name:<38} {found['median seconds']:.3f} s, {found['median processor seconds']:.3f} of a processor{ratio}")
        summary[f"{name}, seconds"] = found["median seconds"]  # type: ignore[assignment]
        summary[f"{name}, processor seconds"] = found["median processor seconds"]  # type: ignore[assignment]
        if share is not None:
            summary[f"{name}, ratio to the other copy"] = share  # type: ignore[assignment]
    # A comparison has a file of its own: its seconds come from a busy machine, and only its ratios mean something.
    copies = {"this copy": commit_of(HERE), "other copy": commit_of(other)} if other else {}
    keep("cli_startup_pairs" if other else "cli_startup", {**copies, "goals": GOALS, "summary": summary, "commands": commands})
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
