"""Kill small runs of `tiny-cpu` at random moments of all phases, resume them, and compare every result with an undisturbed run.

python -m benchmarks killed_runs --check

A run is killed with SIGKILL and resumed eight times, and then continues to its end. Its weights, metrics, answers and scores
must be equal to the bit to those of a run that nobody killed. Each kill has a phase, so that a phase of one second is hit as
well, and comes a random time after that phase begins or after it has a checkpoint; one in ten comes after the start. A
checkpoint follows every step. 70 kills take about ten minutes on an idle machine with two cores.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.shared.result_files import keep, report_goals
from tests.phases.small_run import answers, arguments, metrics

START = "start"
PHASES = ("data", "align", "transfer", "control", "evaluate", "export")
GOALS = {
    "kills": ("at least", 60),
    "kills with checkpoints on the disk": ("at least", 15),
    "phases with a kill": ("at least", len(PHASES)),
    "kills after which the run ended otherwise": ("at most", 0),
}
STARTS = multiprocessing.get_context("forkserver")
"""A process with everything imported starts each run by a fork, which saves seconds; the run is still a process of its own."""

KILLS_OF_A_RUN = (
    ("data", "begins"),
    *(("align", "begins"), ("align", "has a checkpoint")),
    *(("transfer", "begins"), ("transfer", "has a checkpoint")),
    *(("control", "has a checkpoint"), ("evaluate", "begins"), ("export", "begins")),
)
"""The phase of each kill, and the event after which the random time runs."""
TINY = (
    "data.instructions.limit=60",
    *("align.max_steps=6", "align.checkpoint_every=1", "align.log_every=2"),
    *("align.tokens_per_step=256", "align.tokens_per_micro_batch=256"),
    *("transfer.max_steps=5", "transfer.checkpoint_every=1", "transfer.log_every=2"),
    *("transfer.tokens_per_step=256", "transfer.tokens_per_micro_batch=256"),
    "evaluate.benchmarks=[{name: world, limit: 2}, {name: xnli, source: sample, languages: [en], labels: likelihood}]",
    "evaluate.max_new_tokens=6",
    "languages=[om]",
)
"""Settings of `tiny-cpu` that make a run as short as possible, with a checkpoint after every step."""
PRELOADED = [
    *("lilift.phases.run", "lilift.cli.app", "lilift.export.gguf.llm_gguf", "lilift.phases.model_check.weight_checks"),
    *("transformers.models.llama.modeling_llama", "transformers.models.mt5.modeling_mt5", "pyarrow", "pandas"),
]


def run(folder: Path) -> None:
    """The command, in its own process; what it prints goes to a file beside the folder."""
    from lilift.cli import app

    with folder.with_suffix(".log").open("a", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        code = app.main(arguments(folder, "--resume", small=TINY))
        sys.stdout.flush()
        os._exit(code)


def finished(folder: Path) -> list[str]:
    return [phase for phase in PHASES if (folder / phase / "done.json").exists()]


def run_to_the_end(folder: Path) -> None:
    """Run, or resume, and wait.

    Raises:
        RuntimeError: the run ended with an error.
    """
    process = STARTS.Process(target=run, args=(folder,))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the run ended with {process.exitcode}; see {folder.with_suffix('.log')}")


def has_come(folder: Path, phase: str, event: str, start: int) -> bool:
    """Whether a phase has begun, as the output since byte `start` says, and has a checkpoint if the event is that."""
    if event == "has a checkpoint" and not any(folder.glob(f"{phase}/checkpoints/step-*")):
        return False
    lines = folder.with_suffix(".log").read_bytes()[start:].decode("utf-8", "replace").splitlines()
    return any(line.startswith(f"{phase}:") and "already done" not in line for line in lines)


def run_and_kill(
    folder: Path, phase: str, event: str, moments: random.Random, seconds: dict[str, float]
) -> dict[str, Any] | None:
    """Run until a random moment, and kill. None if the run ended before that moment.

    Args:
        folder: the run, new or killed before.
        phase: the phase to kill in; the next one if it is finished.
        event: what must have happened before the random time runs.
        moments: gives the moment.
        seconds: how long each phase takes, and the start.

    Raises:
        RuntimeError: the run ended with an error.
    """
    log = folder.with_suffix(".log")
    log.touch()
    size = log.stat().st_size
    done = finished(folder)
    awaited = next((one for one in PHASES[PHASES.index(phase) :] if one not in done), START)
    if awaited != phase:
        event = "begins"
    if moments.random() < 0.1:
        awaited, event = START, "begins"
    wait = moments.uniform(0.0, seconds[awaited] * (1.1 if event == "begins" else 0.4))
    process = STARTS.Process(target=run, args=(folder,))
    process.start()
    while process.is_alive() and awaited != START and not has_come(folder, awaited, event, size):
        time.sleep(0.01)
    process.join(wait)
    ended = not process.is_alive()
    process.kill()
    process.join()
    if ended and process.exitcode == 0:
        return None
    if process.exitcode != -signal.SIGKILL:
        raise RuntimeError(f"the run ended with {process.exitcode}; see {log}")
    done = finished(folder)
    return {
        "phase": next((phase for phase in PHASES if phase not in done), "after the last"),
        "seconds": round(wait, 3),
        "after": f"{awaited} {event}",
        "checkpoints on the disk": sorted(str(path.relative_to(folder)) for path in folder.glob("*/checkpoints/step-*")),
        "unfinished files": len([path for path in folder.rglob("*") if path.name.startswith(".partial-")]),
    }


def results_of(folder: Path) -> dict[str, Any]:
    """What must be equal: digests of all weights and GGUF files, metrics without times, answers, scores and drift."""
    files = sorted(path for kind in ("safetensors", "gguf") for path in folder.rglob(f"*.{kind}"))
    return {
        "weights": {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files},
        "metrics": metrics(folder),
        "answers": answers(folder),
        "scores": json.loads((folder / "evaluate" / "scores.json").read_text(encoding="utf-8")),
        "drift": json.loads((folder / "export" / "drift.json").read_text(encoding="utf-8")),
    }


def compare(folder: Path, undisturbed: dict[str, Any]) -> list[str]:
    """The names of the results that differ."""
    found = results_of(folder)
    return [name for name, value in undisturbed.items() if found[name] != value]


def chain(base: Path, number: int, seed: int, seconds: dict[str, float], undisturbed: dict[str, Any]) -> list[dict[str, Any]]:
    """Kill one run several times, let it end, and compare it; gives its kills."""
    folder = base / f"run-{number}"
    moments = random.Random(f"{seed} {number}")
    kills: list[dict[str, Any]] = []
    for phase, event in KILLS_OF_A_RUN:
        kill = run_and_kill(folder, phase, event, moments, seconds)
        if kill is not None:  # the run may have ended before the moment came
            kills.append({"run": number, **kill})
            print(json.dumps(kills[-1]), flush=True)
    run_to_the_end(folder)
    different = compare(folder, undisturbed)
    print(f"run {number}: {len(kills)} kills; different: {different or 'nothing'}", flush=True)
    if not different:
        shutil.rmtree(folder)
    return [kill | {"different at the end": different} for kill in kills]


def summary(kills: list[dict[str, Any]]) -> dict[str, float]:
    """The counts that the goals name."""
    return {
        "kills": len(kills),
        "kills with checkpoints on the disk": sum(1 for kill in kills if kill["checkpoints on the disk"]),
        "kills in the middle of writing a file": sum(1 for kill in kills if kill["unfinished files"]),
        "phases with a kill": len({kill["phase"] for kill in kills} & {*PHASES}),
        "kills after which the run ended otherwise": sum(1 for kill in kills if kill["different at the end"]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill small runs at random moments, resume them, and compare the results.")
    parser.add_argument("--runs", type=int, default=9, help=f"runs to kill, {len(KILLS_OF_A_RUN)} times each")
    parser.add_argument("--together", type=int, default=2, help="runs at the same time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the runs go (default: a temporary folder)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    options = parser.parse_args()
    STARTS.set_forkserver_preload(PRELOADED)
    kills: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(options.together) as pool:
        base = options.folder or Path(temporary)
        base.mkdir(parents=True, exist_ok=True)
        run_to_the_end(base / "undisturbed")
        undisturbed = results_of(base / "undisturbed")
        measured = json.loads((base / "undisturbed" / "measured.json").read_text(encoding="utf-8"))
        seconds = {phase: measured[phase]["seconds"] for phase in PHASES} | {START: 2.0}
        for found in pool.map(
            lambda number: chain(base, number, options.seed, seconds, undisturbed), range(1, options.runs + 1)
        ):
            kills += found
    by_phase = dict(Counter(kill["phase"] for kill in kills))
    compared = {name: len(value) for name, value in undisturbed.items()}
    counts = summary(kills)
    keep("killed_runs", {"goals": GOALS, "summary": counts, "by phase": by_phase, "compared": compared, "kills": kills})
    return 0 if report_goals(counts, GOALS) or not options.check else 1


if __name__ == "__main__":
    sys.exit(main())
