"""Run what needs a GPU: the tests marked ``gpu`` and the benchmarks in ``PARTS``, each in about a minute.

make gpu WHEELS=folder                      # or: python -m benchmarks gpu --wheels folder
make gpu PARTS="loss stages"                # only these, in this order
python -m benchmarks gpu --device cpu       # a rehearsal: tiny shapes, the Triton kernels in Triton's interpreter

It downloads nothing, and does not need lilift to be installed. Put wheels of packages that the machine lacks (bitsandbytes,
liger-kernel, cut-cross-entropy, ...) into a folder: this run alone installs them. It skips what needs a package that is still
missing, and names that package. It writes ``benchmarks/results/<gpu>-<date>.json`` after every step, and from that file the
tables and plots of ``docs/gpu.md``. A part that is not run keeps its figures in that file. The last table shows every goal
beside the figure in the newest earlier file of the same card.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any
from xml.etree import ElementTree

import torch

from benchmarks.gpu_report import render
from benchmarks.gpu_session import ROOT, SOURCES, TIMED_OUT, Session
from benchmarks.shared.measuring import BROKEN, culprit, markdown
from benchmarks.shared.result_files import FOLDER, benchmark_command, goal_met, keep

NEEDS = ("packaging", "psutil")  # of every result file, which names the machine
TEST_NEEDS = ("hypothesis", "pytest")
KERNEL_TESTS = sorted((ROOT / "tests" / "kernels").rglob("test_triton_*.py"))  # `make test` runs them in the interpreter
PROJECTION_TESTS = ROOT / "tests" / "kernels" / "projection" / "test_gpu_projection.py"
# A 4-bit LLM in a bridge, with lean layers; decoding steps as graphs.
MODEL_TESTS = [ROOT / "tests" / "model" / name for name in ("test_gpu.py", "decoding/test_step_graphs.py")]
MODEL_NEEDS = ("bitsandbytes", "peft", "pydantic", "regex", "sentencepiece", "tokenizers", "transformers", "yaml")
TESTS = "tests"  # the first part
TESTS_SECONDS = 90
LEAST_SECONDS = 10  # a part starts only if this much time is left
LONGEST_SHAPE = 20  # seconds reserved for the shape that a part measures when its time ends


@dataclass(frozen=True)
class Part:
    """A benchmark that runs in a process of its own.

    It takes ``--device cpu|cuda``, ``--output FILE`` for its JSON, and ``--check``, with which it exits with 1 if a goal is not
    met. ``summary`` and ``goals`` in the JSON are the arguments of ``result_files.report_goals``. It writes the file as it
    goes.
    """

    name: str  # in PARTS="..."
    benchmark: str
    rehearsal: str  # arguments for a short run on a CPU
    seconds: float = 60  # the most it may take
    needs: tuple[str, ...] = ()  # it is skipped without these packages
    # It has competitors. It takes `--seconds` (after which it starts nothing more), `--resume` (keeps the results in FILE) and
    # `--without`.
    resumes: bool = False


# In order of worth.
PARTS = (
    Part(
        "loss",
        "linear_cross_entropy",
        "--rows 48 --vocabulary 300 --width 16 --valid 0.25 1 --backend aot_eager --repeats 2",
        seconds=90,
        resumes=True,
    ),
    Part("stages", "stage_speed", "", seconds=75, needs=MODEL_NEEDS),
    Part("answers", "generation_speed", "", seconds=75, needs=MODEL_NEEDS),
    Part(
        "memory",
        "card_memory",
        "--recipes tiny-cpu --set align.tokens_per_micro_batch=192 transfer.tokens_per_micro_batch=192 "
        "evaluate.tokens_per_batch=256 evaluate.max_new_tokens=8",
        needs=MODEL_NEEDS,
    ),
    Part("projection", "alignment_projection", "--rows 2 --states 10 --widths 8 16 12 --backend aot_eager --repeats 2"),
    Part("processes", "processes_on_one_card", "--check", needs=MODEL_NEEDS),
    Part("real-models", "real_models_on_gpu", "", seconds=120, needs=MODEL_NEEDS),
    Part("unsloth", "unsloth_parity", "--width 64 --layers 1", needs=(*MODEL_NEEDS, "unsloth")),
)


def install(session: Session, wheels: Path) -> dict[str, str]:
    """Unpack the wheels for this run alone; return those that failed, with the reason."""
    failed = {}
    found = sorted(wheels.glob("*.whl"))
    if not found:
        failed[str(wheels)] = "holds no wheel"
    for wheel in found:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
        command += ["--upgrade", "--target", str(session.site), str(wheel)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            failed[wheel.name] = (result.stderr.strip().splitlines() or ["no message"])[-1]
    for name, reason in failed.items():
        print(f"NOT INSTALLED  {name}: {reason}")
    sys.path.insert(0, str(session.site))
    importlib.invalidate_caches()
    return failed


def lacking(packages: Sequence[str]) -> str:
    """A text that names those of `packages` that are not installed; empty if all are."""
    absent = [name for name in packages if find_spec(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def run_tests(session: Session, chosen: list[str] | None) -> dict[str, Any]:
    """Run the tests marked ``gpu``, on a CPU in Triton's interpreter."""
    if reason := lacking(TEST_NEEDS):
        print(f"the tests do not run: {reason}")
        return {"exit_code": 1, "skipped": {"all tests": reason}}
    paths, skipped = chosen or list(map(str, KERNEL_TESTS)), {}
    if chosen is None and session.device == "cuda":
        paths.append(str(PROJECTION_TESTS))
    if chosen is None:
        if reason := lacking(MODEL_NEEDS):
            print(f"skipped the tests of models: {reason}")
            skipped["tests of models"] = reason
        else:
            paths += map(str, MODEL_TESTS)
    report = session.folder / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", "-rs", f"--junitxml={report}"]
    if session.device == "cuda" and _has_room_for_six():
        command += ["-n", "6", "--dist", "worksteal"]  # most of the time goes into compiling kernels
    interpreted = {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"} if session.device == "cpu" else {}
    limit = min(TESTS_SECONDS, session.left) if session.device == "cuda" else session.left
    started = time.monotonic()
    code = session.run([*command, *paths], limit=limit, **interpreted)
    found = {"exit_code": code, "seconds": round(time.monotonic() - started, 1)}
    return {**found, **_counted(report, skipped)}


def _counted(report: Path, skipped: dict[str, str]) -> dict[str, Any]:
    """The counts in pytest's report; adds to ``skipped``."""
    if not report.exists():
        return {"skipped": skipped}
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    counts = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
    cases = [(f"{case.get('classname')}::{case.get('name')}", case) for case in suite.iter("testcase")]
    failed = [name for name, case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped |= {name: reason.get("message", "") for name, case in cases if (reason := case.find("skipped")) is not None}
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    return {"passed": passed, "failed": failed, "skipped": skipped}


def _has_room_for_six() -> bool:
    """Whether six test processes can run at the same time: cores for compiling, and memory for six large heads."""
    memory = torch.cuda.get_device_properties(0).total_memory
    return find_spec("xdist") is not None and (os.cpu_count() or 1) >= 8 and memory > 60 * 2**30


def run_part(session: Session, part: Part) -> dict[str, Any]:
    """Run one part; return its JSON with its exit code. At its time limit the results so far are kept.

    If a competitor crashes the GPU or the process, the part runs again from there without it.
    """
    if reason := lacking(part.needs):
        print(f"\nskipped {part.name}: {reason}")
        return {"exit_code": 0, "reason": reason}
    if session.left < LEAST_SECONDS:
        print(f"\nskipped {part.name}: there is no time left")
        return {"exit_code": TIMED_OUT, "reason": "no time was left"}
    for_others = max(0.0, session.left - part.seconds) if session.device == "cuda" else 0.0
    output = session.folder / f"{part.benchmark}.json"
    command = [*benchmark_command(part.benchmark), "--device", session.device, "--output", str(output)]
    command += ["--check"] if session.device == "cuda" else part.rehearsal.split()
    broken_by: list[str] = []
    while True:
        limit = session.left - for_others
        extra = ["--seconds", f"{max(1.0, limit - LONGEST_SHAPE):.0f}"] if part.resumes else []
        extra += ["--resume"] if broken_by else []
        without = [name for name in broken_by if not name.startswith("lilift")]
        extra += ["--without", *without] if without else []
        code = session.run([*command, *extra], limit=limit)
        broken = culprit(output) if part.resumes and (code == BROKEN or code < 0) else None
        if broken is None or broken in broken_by or session.left - for_others < 2 * LONGEST_SHAPE:
            break
        print(f"{broken} crashed the GPU or the process (exit code {code})", flush=True)
        broken_by.append(broken)
    found = json.loads(output.read_text(encoding="utf-8")) if output.exists() else {}
    return {**found, "broken_by": broken_by, "exit_code": code}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run everything that needs a GPU: tests and benchmarks.")
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"], help="cpu: rehearse with tiny shapes")
    parser.add_argument("--wheels", type=Path, help="folder with wheels of missing packages")
    parser.add_argument("--seconds", type=float, default=540, help="time limit; stopping the last command can take ten more")
    parser.add_argument("--results", type=Path, default=FOLDER, help="folder for the JSON")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder for tables and plots")
    names = [TESTS, *(part.name for part in PARTS)]
    parser.add_argument("--parts", nargs="+", default=names, choices=names, help="run only these, in this order")
    parser.add_argument("--tests", nargs="+", help="run these tests instead of all that are marked `gpu`")
    arguments = parser.parse_args(argv)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("this machine has no CUDA GPU; rehearse without one with --device cpu", file=sys.stderr)
        return 1
    if arguments.wheels is not None and not arguments.wheels.is_dir():
        print(f"--wheels {arguments.wheels}: no such folder", file=sys.stderr)
        return 2
    name = torch.cuda.get_device_name().lower().replace(" ", "-") if arguments.device == "cuda" else "cpu"
    path = arguments.results / f"{name}-{datetime.date.today().isoformat()}.json"
    signal.signal(signal.SIGTERM, _leave)
    sys.path[1:1] = SOURCES
    with tempfile.TemporaryDirectory() as folder:
        session = Session(arguments.device, arguments.seconds, Path(folder))
        failed_wheels = install(session, arguments.wheels) if arguments.wheels is not None else {}
        if reason := lacking(NEEDS):
            print(f"{reason}; put the wheels into the folder that --wheels names", file=sys.stderr)
            return 1
        found: dict[str, Any] = {"tests": {}} | earlier_parts(path) | {"wheels_not_installed": failed_wheels}
        for chosen in arguments.parts:
            if chosen == TESTS:
                found[TESTS] = run_tests(session, arguments.tests)
            else:
                part = next(part for part in PARTS if part.name == chosen)
                found[part.benchmark] = run_part(session, part)
            keep(name, found, path)  # so that an interrupted run keeps its results
    code = summarise(found, arguments.parts, previous(path, name))
    print(f"\n{path}\n{render([path], arguments.docs)}")
    return code


def earlier_parts(path: Path) -> dict[str, Any]:
    """What another run of the same day has measured: parts that do not run now keep their figures."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {name: found[name] for name in (TESTS, *(part.benchmark for part in PARTS)) if name in found}


def previous(path: Path, card: str) -> dict[str, Any]:
    """The newest earlier results of the same card; empty if there are none."""
    files = [file for file in sorted(path.parent.glob(f"{card}-*.json")) if file.name < path.name]
    return json.loads(files[-1].read_text(encoding="utf-8")) if files else {}


def summarise(found: dict[str, Any], chosen: Sequence[str], before: dict[str, Any]) -> int:
    """Print one table of all goals; return the exit code: 0 if everything ran, passed and met its goals."""
    codes = []
    if TESTS in chosen:
        tests = found[TESTS]
        codes.append(tests["exit_code"])
        print(
            f"\ntests: {tests.get('passed', 0)} passed, {len(tests.get('failed', []))} failed, exit code {tests['exit_code']}"
        )
    rows: list[dict[str, object]] = []
    for part in (part for part in PARTS if part.name in chosen):
        result = found[part.benchmark]
        codes.append(result["exit_code"])
        if result["exit_code"] or "reason" in result:
            print(f"{part.name}: exit code {result['exit_code']} {result.get('reason', '')}".rstrip())
        earlier = before.get(part.benchmark, {}).get("summary", {})
        for goal, (kind, limit) in result.get("goals", {}).items():
            met = {True: "met", False: "NOT MET", None: "not measured"}[goal_met(result["summary"], goal, kind, limit)]
            rows.append(
                {
                    "part": part.name,
                    "goal": goal,
                    "wanted": f"{kind} {limit:.3g}",
                    "found": _figure(result["summary"], goal),
                    "before": _figure(earlier, goal),
                    "": met,
                }
            )
    print(f"\n{markdown(rows)}")
    return 0 if not any(codes) and not found["wheels_not_installed"] else 1


def _figure(summary: dict[str, float], goal: str) -> str:
    return f"{summary[goal]:.3g}" if goal in summary else ""


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
