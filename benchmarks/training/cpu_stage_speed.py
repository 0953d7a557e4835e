"""Speed of stage 1 on a CPU with an encoder and an LLM from disk, in this build and an earlier one, by turns on one core.

python -m benchmarks cpu_stage_speed --encoder ../e5 --llm ../smollm2-135m --baseline ../lilift-before --check

Both builds run the same recipe with one thread and take turns of a few steps. Speed is tokens for each second of processor time
(user and system), which other programs disturb less than the time on the clock. Both builds train on the same rows in the same
order, so that their losses are comparable.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GOALS = {
    "this build to the baseline, tokens a processor second": ("at least", 1.3),
    "largest difference of losses": ("at most", 1e-4),
}


def settings_for(encoder: Path, llm: Path) -> list[str]:
    models = (f"encoder.model={encoder}", "encoder.add_embeddings=false", f"llm.model={llm}", "llm.quantization=none")
    return [*models, "alignment.expansion=4", "languages=[om]", "align.target={respond: 1.0}"]


def measure(checkouts: dict[str, Path], more: list[str], turns: int) -> dict[str, list[dict[str, Any]]]:
    """What each build reports of its turns."""
    from benchmarks.training import busy_cores

    os.environ["OMP_NUM_THREADS"] = "1"
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in checkouts}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cores = os.sched_getaffinity(0)
        busy_cores.OPENMP = ()  # the number of threads stays
        script = Path(__file__)
        runs = {name: busy_cores.start(name, path, folder, cores, more, script) for name, path in checkouts.items()}
        logs = {name: folder / f"{name.replace(' ', '-')}.log" for name in checkouts}
        try:
            for name, process in runs.items():
                busy_cores.read_report(process, logs[name])
                print(f"{name}: ready", flush=True)
            for number in range(turns):
                for name, process in runs.items():
                    found[name].append(busy_cores.turn(process, logs[name]))
                print(f"turn {number + 1} of {turns}: { {name: turn[-1] for name, turn in found.items()} }", flush=True)
        finally:
            for process in runs.values():
                process.kill()
                process.wait()
    return found


def summarise(found: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Medians over the turns but the first, which warms up."""
    speed = "tokens a processor second"
    summary = {f"{name}, {speed}": statistics.median(turn[speed] for turn in turns[1:]) for name, turns in found.items()}
    if "baseline" in found:
        pairs = list(zip(found["this build"], found["baseline"], strict=True))
        ratios = [one[speed] / other[speed] for one, other in pairs[1:]]
        summary[f"this build to the baseline, {speed}"] = round(statistics.median(ratios), 3)
        summary["largest difference of losses"] = max(abs(one["loss"] - other["loss"]) for one, other in pairs)
    return summary


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the speed of stage 1 on a CPU between two builds.")
    parser.add_argument("--encoder", type=Path, help="a folder with an encoder")
    parser.add_argument("--llm", type=Path, help="a folder with an LLM")
    parser.add_argument("--baseline", type=Path, help="an earlier checkout of lilift to compare with")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)  # one build, in this process
    parser.add_argument("more", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        from importlib.util import module_from_spec, spec_from_file_location

        spec = spec_from_file_location("turns", Path(__file__).with_name("busy_cores.py"))
        assert spec is not None
        assert spec.loader is not None
        turns = module_from_spec(spec)
        spec.loader.exec_module(turns)
        turns.TURN_SECONDS = 0.0  # every turn has the same number of steps in both builds
        turns.run_in_turns(arguments.run, arguments.more)
    if arguments.encoder is None or arguments.llm is None:
        parser.error("name the two models: --encoder FOLDER --llm FOLDER")
    from benchmarks.shared.result_files import commit_of, keep, report_goals

    checkouts = {"this build": ROOT}
    commits = {"this build": commit_of(ROOT)}
    if arguments.baseline is not None:
        checkouts["baseline"] = arguments.baseline.resolve()
        commits["baseline"] = commit_of(arguments.baseline)
    found = measure(checkouts, settings_for(arguments.encoder.resolve(), arguments.llm.resolve()), arguments.turns)
    summary = summarise(found)
    load = round(os.getloadavg()[0], 2)
    keep("cpu_stage_speed", {"goals": GOALS, "summary": summary, "turns": found, "commits": commits, "load": load})
    for name, value in summary.items():
        print(f"{value:10.4g}  {name}")
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
