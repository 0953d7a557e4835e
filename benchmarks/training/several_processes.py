"""Speed of stage 1 of `tiny-cpu` in two processes, against one process, and against one process of an earlier build.

python -m benchmarks several_processes --baseline ../lilift-before --check

Every process has one thread. The runs take turns: in each round, each of them trains from the start, as the command line does.
A run's speed is the median of its lines of metrics, without the first ones. Let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ONE, TWO, BASELINE = "one process", "two processes", "one process of the baseline"
GOALS = {
    "two processes, speed to one process": ("at least", 1.8),
    "one process, time to that of the baseline": ("at most", 1.01),
}
LOG_EVERY, LEFT_OUT = 20, 3


def train(checkout: Path, folder: Path, processes: int, steps: int) -> float:
    """Train stage 1 for some steps; gives its tokens a second.

    Raises:
        subprocess.CalledProcessError: the run failed; its output has been printed.
    """
    settings = ["data.instructions.limit=2000", f"align.max_steps={steps}", f"align.log_every={LOG_EVERY}"]
    command = [sys.executable, "-m", "lilift", "recipe", "run", "tiny-cpu", "--until", "align", "--run-folder", str(folder)]
    command += [word for setting in settings for word in ("--set", setting)]
    command += ["--processes", str(processes)] if processes > 1 else []
    path = f"{checkout}{os.pathsep}{checkout / 'kernels'}"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    subprocess.run(command, cwd=checkout, env=environment, check=True, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (folder / "align" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return statistics.median(line["tokens_per_second"] for line in lines[LEFT_OUT:])


def measure(checkouts: dict[str, Path], rounds: int, steps: int) -> dict[str, list[float]]:
    """Tokens a second of each run, round after round."""
    found: dict[str, list[float]] = {name: [] for name in checkouts}
    for number in range(rounds):
        for name, checkout in checkouts.items():
            with tempfile.TemporaryDirectory() as temporary:
                found[name].append(train(checkout, Path(temporary) / "run", 2 if name == TWO else 1, steps))
        print(f"round {number + 1} of {rounds}: { ({name: speeds[-1] for name, speeds in found.items()}) }", flush=True)
    return found


def summarise(found: dict[str, list[float]]) -> dict[str, float]:
    """Medians, and ratios of runs of the same round."""

    def ratio(one: str, other: str) -> float:
        return round(statistics.median(first / second for first, second in zip(found[one], found[other], strict=True)), 4)

    summary = {f"{name}, tokens a second": statistics.median(speeds) for name, speeds in found.items()}
    summary["two processes, speed to one process"] = ratio(TWO, ONE)
    if BASELINE in found:
        summary["one process, time to that of the baseline"] = ratio(BASELINE, ONE)
    return summary


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure stage 1 of tiny-cpu in one process and in two.")
    parser.add_argument("--baseline", type=Path, help="an earlier checkout of lilift to compare one process with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    arguments = parser.parse_args()
    if arguments.steps < (LEFT_OUT + 1) * LOG_EVERY:
        parser.error(f"--steps must be at least {(LEFT_OUT + 1) * LOG_EVERY}")
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("this needs two cores")
    from benchmarks.shared.result_files import commit_of, keep, report_goals

    checkouts = {ONE: ROOT, TWO: ROOT}
    commits = {"this build": commit_of(ROOT)}
    if arguments.baseline is not None:
        checkouts[BASELINE] = arguments.baseline.resolve()
        commits["baseline"] = commit_of(arguments.baseline)
    began = os.getloadavg()[0]
    found: dict[str, Any] = measure(checkouts, arguments.rounds, arguments.steps)
    summary = summarise(found)
    content = {"goals": GOALS, "summary": summary, "tokens a second": found, "steps": arguments.steps, "commits": commits}
    keep("several_processes", content | {"load before": round(began, 2)})
    for name, value in summary.items():
        print(f"{value:10.4g}  {name}")
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
