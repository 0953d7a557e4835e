"""Speed of stage 1 and evaluation of `tiny-cpu` in two processes, against one process, and one process of an earlier build.

python -m benchmarks several_processes --baseline ../lilift-before --check

Every process has one thread. Stage 1 of `tiny-cpu` has one micro-batch a step, which two processes split. A second measurement
has steps of two micro-batches, one for each process, as models have that accumulate gradients. The runs take turns: in each
round, each of them trains from the start, as the command line does. The speed of stage 1 is the median of its lines of metrics,
without the first ones; that of the evaluation is its questions a second, without loading. Let nothing else run meanwhile.
`dealt_work` needs no idle cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ONE, TWO, BASELINE = "one process", "two processes", "one process of the baseline"
GOALS = {
    "two processes, speed of stage 1 to one process": ("at least", 1.8),
    "two processes, speed of evaluation to one process": ("at least", 1.8),
    "one process, time of stage 1 to that of the baseline": ("at most", 1.01),
    "one process, time of evaluation to that of the baseline": ("at most", 1.01),
}
STAGE, LARGER_STEPS, EVALUATION = "stage 1", "stage 1 with two micro-batches a step", "evaluation"
SETTINGS = {STAGE: [], LARGER_STEPS: ["align.tokens_per_step=2048"]}
LOG_EVERY, LEFT_OUT = 20, 3


def train(checkout: Path, folder: Path, processes: int, steps: int, more: Sequence[str]) -> float:
    """Train stage 1 for some steps, with more settings; gives its tokens a second.

    Raises:
        subprocess.CalledProcessError: the run failed; its output has been printed.
    """
    settings = ["data.instructions.limit=2000", f"align.max_steps={steps}", f"align.log_every={LOG_EVERY}", *more]
    command = ["recipe", "run", "tiny-cpu", "--until", "align", "--run-folder", str(folder)]
    command += [word for setting in settings for word in ("--set", setting)]
    run_lilift(checkout, command, processes)
    lines = [json.loads(line) for line in (folder / "align" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return statistics.median(line["tokens_per_second"] for line in lines[LEFT_OUT:])


def answer(checkout: Path, folder: Path, processes: int) -> float:
    """Let the untrained model of a run answer the questions of the recipe; gives its questions a second.

    Raises:
        subprocess.CalledProcessError: the evaluation failed; its output has been printed.
    """
    output = folder.with_name("answers")
    command = ["eval", str(folder), "--system", "untrained", "--benchmark", "world", "--limit", "100", "--output", str(output)]
    run_lilift(checkout, command, processes)
    cost = json.loads((output / "untrained" / "cost.json").read_text(encoding="utf-8"))["benchmarks"]["world"]
    return float(cost["questions"] / cost["seconds"])


def run_lilift(checkout: Path, command: list[str], processes: int) -> None:
    """Run a command of a checkout; every process has one thread."""
    several = ["--processes", str(processes)] if processes > 1 else []
    path = f"{checkout}{os.pathsep}{checkout / 'kernels'}"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    whole = [sys.executable, "-m", "lilift", *command, *several]
    subprocess.run(whole, cwd=checkout, env=environment, check=True, stdout=subprocess.DEVNULL)


def measure(checkouts: dict[str, Path], rounds: int, steps: int) -> dict[str, dict[str, list[float]]]:
    """Tokens a second of stage 1 and questions a second of the evaluation, of each run, round after round."""
    found: dict[str, dict[str, list[float]]] = {work: {name: [] for name in checkouts} for work in (*SETTINGS, EVALUATION)}
    for number in range(rounds):
        for name, checkout in checkouts.items():
            processes = 2 if name == TWO else 1
            with tempfile.TemporaryDirectory() as temporary:
                for work, more in SETTINGS.items():
                    folder = Path(temporary) / work.replace(" ", "-")
                    found[work][name].append(train(checkout, folder, processes, steps, more))
                found[EVALUATION][name].append(answer(checkout, folder, processes))
        so_far = {work: {name: round(speeds[-1]) for name, speeds in of_work.items()} for work, of_work in found.items()}
        print(f"round {number + 1} of {rounds}: {so_far}", flush=True)
    return found


def summarise(found: dict[str, dict[str, list[float]]]) -> dict[str, float]:
    """Medians, and ratios of runs of the same round."""
    summary = {}
    for work, speeds in found.items():

        def ratio(one: str, other: str, speeds: dict[str, list[float]] = speeds) -> float:
            return round(statistics.median(first / second for first, second in zip(speeds[one], speeds[other], strict=True)), 4)

        unit = "questions" if work == EVALUATION else "tokens"
        summary |= {f"{name}, {work}, {unit} a second": statistics.median(values) for name, values in speeds.items()}
        summary[f"two processes, speed of {work} to one process"] = ratio(TWO, ONE)
        if BASELINE in speeds:
            summary[f"one process, time of {work} to that of the baseline"] = ratio(BASELINE, ONE)
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
    content = {"goals": GOALS, "summary": summary, "speeds": found, "steps": arguments.steps, "commits": commits}
    keep("several_processes", content | {"load before": round(began, 2)})
    for name, value in summary.items():
        print(f"{value:10.4g}  {name}")
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
