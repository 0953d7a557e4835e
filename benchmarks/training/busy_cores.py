"""Speed of `tiny-cpu` beside a busy program: this build and an earlier one, with one of two cores busy and with both free.

python -m benchmarks busy_cores --baseline ../lilift-before --check

Each run of stage 1 has a process of its own, started as `lilift recipe run` starts it. The processes take turns of a second or
two, and wait in between, so that other programs disturb all of them alike. All may use the same two
cores. The busy program stays on the second one. Let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GOALS = {
    "one core busy, this build, to one thread on a free core": ("at least", 0.8),
    "both cores free, this build, to one thread": ("at least", 0.95),
}
SETTINGS = (
    *("data.instructions.limit=300", "align.max_steps=20000", "align.epochs=10000"),
    *("align.log_every=20000", "align.checkpoint_every=20000"),
)
TURN_SECONDS, TURN_STEPS = 1.5, 2
"""A turn ends after the first step past so many seconds, and has at least so many steps."""
ONE_THREAD = "this build, one thread"
THIS = "this build"
TWO_THREADS = "this build, two threads"
BASELINE = "baseline"
LOADING_SECONDS = 900.0
OPENMP = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "MKL_NUM_THREADS")


def run_in_turns(folder: Path, more: Sequence[str] = ()) -> None:
    """Run stage 1 of `tiny-cpu`, with more settings, as the command does.

    Before each turn it waits for a line on standard input. After each turn it reports.
    """
    from lilift.cli import app, recipe

    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run_verb = recipe.run_run

    def run_with_turns(parsed: argparse.Namespace) -> int:
        # Only now, because the command line sets up threads and memory before anything imports torch.
        from lilift.train import loop

        loop.compute_gradients = taking_turns(loop.compute_gradients, report)
        return run_verb(parsed)

    recipe.run_run = run_with_turns
    settings = [word for setting in (*SETTINGS, *more) for word in ("--set", setting)]
    sys.exit(app.main(["recipe", "run", "tiny-cpu", "--until", "align", "--run-folder", str(folder), *settings]))


def taking_turns(compute: Any, report: Any) -> Any:
    """A step's computation that waits at the end of each turn. The first call is the rehearsal, and no step."""
    import torch

    calls, steps, tokens, began, computed = 0, 0, 0, 0.0, 0.0
    outcome: Any = None

    def in_turns(*arguments: Any, **named: Any) -> Any:
        nonlocal calls, steps, tokens, began, computed, outcome
        calls += 1
        if calls == 1:
            return compute(*arguments, **named)
        now = time.perf_counter()
        if calls == 2 or (steps >= TURN_STEPS and now - began >= TURN_SECONDS):
            found = {"threads": torch.get_num_threads()}
            if calls > 2:
                processor_seconds = time.process_time() - computed
                found = {"tokens a second": tokens / (now - began), "tokens a processor second": tokens / processor_seconds}
                found |= {"loss": outcome.loss}
            print(json.dumps(found), file=report, flush=True)
            if not sys.stdin.readline():
                os._exit(0)
            steps, tokens, began, computed = 0, 0, time.perf_counter(), time.process_time()
        outcome = compute(*arguments, **named)
        steps, tokens = steps + 1, tokens + outcome.tokens
        return outcome

    return in_turns


def start(
    name: str, checkout: Path, folder: Path, cores: set[int], more: Sequence[str] = (), script: Path = Path(__file__)
) -> subprocess.Popen[str]:
    """Start the process of one run; `script` understands ``--run`` and gives `more` settings to `run_in_turns`."""
    environment = {key: value for key, value in os.environ.items() if key not in OPENMP}
    threads = {ONE_THREAD: "1", TWO_THREADS: "2"}.get(name)
    if threads is not None:
        environment["OMP_NUM_THREADS"] = threads
    environment["PYTHONPATH"] = f"{checkout}{os.pathsep}{checkout / 'kernels'}"
    command = [sys.executable, str(script.resolve()), "--run", str(folder / name.replace(" ", "-")), *more]
    with (folder / f"{name.replace(' ', '-')}.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
    os.sched_setaffinity(process.pid, cores)
    return process


def read_report(process: subprocess.Popen[str], log: Path) -> dict[str, Any]:
    """The next line that a run reports.

    Raises:
        RuntimeError: the run has ended.
    """
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a run ended early: {log.read_text(encoding='utf-8', errors='replace')[-600:]}")
    found: dict[str, Any] = json.loads(line)
    return found


def turn(process: subprocess.Popen[str], log: Path) -> dict[str, Any]:
    """Let a run train for one turn; gives its speed."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    return read_report(process, log)


@contextmanager
def busy_program(core: int | None) -> Iterator[None]:
    """A program that occupies a core while the block runs; nothing if `core` is None."""
    if core is None:
        yield
        return
    program = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        os.sched_setaffinity(program.pid, {core})
        time.sleep(0.3)
        yield
    finally:
        program.kill()
        program.wait()


def never_began(*_: Any) -> None:
    raise TimeoutError("a run did not begin to train in time; free some cores")


def measure(checkouts: dict[str, Path], rounds: int) -> dict[str, Any]:
    """Tokens a second of each run, with one core busy and with both cores free, and its number of threads."""
    first, second = sorted(os.sched_getaffinity(0))[:2]
    found: dict[str, Any] = {name: {"one core busy": [], "both cores free": []} for name in checkouts}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        runs = {name: start(name, checkout, folder, {first, second}) for name, checkout in checkouts.items()}
        logs = {name: folder / f"{name.replace(' ', '-')}.log" for name in checkouts}
        try:
            signal.signal(signal.SIGALRM, never_began)
            signal.alarm(int(LOADING_SECONDS))
            for name, process in runs.items():
                found[name]["threads"] = read_report(process, logs[name])["threads"]
                print(f"{name}: ready, {found[name]['threads']} threads", flush=True)
                turn(process, logs[name])  # warms up
            signal.alarm(0)
            for number in range(rounds):
                for condition, busy in (("both cores free", None), ("one core busy", second)):
                    for name, process in runs.items():
                        with busy_program(busy):
                            found[name][condition].append(round(turn(process, logs[name])["tokens a second"], 1))
                last = {name: (turns["both cores free"][-1], turns["one core busy"][-1]) for name, turns in found.items()}
                print(f"round {number + 1} of {rounds}: {last}", flush=True)
        finally:
            for process in runs.values():
                process.kill()
                process.wait()
    return found


def summarise(found: dict[str, Any]) -> dict[str, float]:
    """Medians, and their ratios. A ratio compares turns of the same round."""
    summary: dict[str, float] = {}
    for name, turns in found.items():
        for condition in ("both cores free", "one core busy"):
            summary[f"{condition}, {name}, tokens a second"] = statistics.median(turns[condition])

    def ratio(label: str, one: tuple[str, str], other: tuple[str, str]) -> None:
        if one[0] in found and other[0] in found:
            pairs = zip(found[one[0]][one[1]], found[other[0]][other[1]], strict=True)
            summary[label] = round(statistics.median(first / second for first, second in pairs), 3)

    alone = (ONE_THREAD, "both cores free")
    for name in (THIS, TWO_THREADS, BASELINE):
        ratio(f"one core busy, {name}, to one thread on a free core", (name, "one core busy"), alone)
        ratio(f"both cores free, {name}, to one thread", (name, "both cores free"), alone)
    ratio("one core busy, this build to the baseline", (THIS, "one core busy"), (BASELINE, "one core busy"))
    return summary


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure tiny-cpu beside a busy program, in this build and an earlier one.")
    parser.add_argument("--baseline", type=Path, help="an earlier checkout of lilift to compare with")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)  # one run, in this process
    arguments = parser.parse_args()
    if arguments.run:
        run_in_turns(arguments.run)
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        parser.error("this needs Linux and two cores")
    from benchmarks.shared.result_files import commit_of, keep, report_goals

    checkouts = {ONE_THREAD: ROOT, THIS: ROOT, TWO_THREADS: ROOT}
    commits = {"this build": commit_of(ROOT)}
    if arguments.baseline is not None:
        checkouts[BASELINE] = arguments.baseline.resolve()
        commits["baseline"] = commit_of(arguments.baseline)
    began = os.getloadavg()[0]
    found = measure(checkouts, arguments.rounds)
    summary = summarise(found)
    content = {"goals": GOALS, "summary": summary, "runs": found, "commits": commits, "load before": round(began, 2)}
    keep("busy_cores", content)
    for name, value in summary.items():
        print(f"{value:10.4g}  {name}")
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
