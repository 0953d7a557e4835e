"""Everything that needs a GPU, in one command of ten minutes: the tests marked ``gpu``, then both kernels' benchmarks.

make gpu WHEELS=folder                      # or: python benchmarks/gpu.py --wheels folder
python benchmarks/gpu.py --device cpu       # a rehearsal: tiny shapes, the Triton kernels in Triton's interpreter

Nothing is downloaded. Packages that the machine lacks (bitsandbytes, liger-kernel, cut-cross-entropy, ...) are wheels in a
folder; they are installed for this run alone, and what is absent all the same is skipped and named. What is found goes to
``benchmarks/results/<gpu>-<date>.json``, and from there to the tables and plots of ``docs/gpu.md``.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch
from gpu_report import render
from linear_cross_entropy import BROKEN
from results import FOLDER, keep, report_goals

ROOT = Path(__file__).parents[1]
KERNEL_TESTS = ROOT / "tests" / "kernels"
MODEL_TESTS = ROOT / "tests" / "model" / "test_gpu.py"  # a 4-bit LLM in a bridge
MODEL_NEEDS = ("bitsandbytes", "peft", "pydantic", "regex", "sentencepiece", "tokenizers", "transformers", "yaml")
TIMED_OUT = 124
TESTS_SHARE, PROJECTION_SECONDS = 0.35, 75
LONGEST_SHAPE = 45  # seconds kept back for the shape that the loss's benchmark is at when its time is over
REHEARSAL = {
    "linear_cross_entropy": "--rows 48 --vocabulary 300 --width 16 --valid 0.25 1 --backend aot_eager --repeats 2",
    "alignment_projection": "--rows 2 --states 10 --widths 8 16 12 --backend aot_eager --repeats 2",
}


class Session:
    """The time that is left, and the surroundings of every command."""

    def __init__(self, device: str, seconds: float, folder: Path) -> None:
        self.device, self.folder = device, folder
        self.ends = time.monotonic() + seconds
        self.site = folder / "site"
        paths = [str(ROOT), str(ROOT / "kernels"), str(self.site), os.environ.get("PYTHONPATH", "")]
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "HF_HUB_OFFLINE": "1"}

    @property
    def left(self) -> float:
        return max(0.0, self.ends - time.monotonic())

    def run(self, command: list[str], *, limit: float, **environment: str) -> int:
        """A command's exit code; it and all that it started are ended at the limit."""
        print(f"\n$ {' '.join(command)}", flush=True)
        process = subprocess.Popen(command, env={**self.environment, **environment}, cwd=ROOT, start_new_session=True)
        try:
            return process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            print(f"ended after {limit:.0f} s", flush=True)
            return TIMED_OUT
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def install(session: Session, wheels: Path) -> dict[str, str]:
    """Unpack the wheels for this run alone; returns those that could not be, with the reason."""
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
    sys.path.insert(0, str(session.site))  # versions are read from here
    importlib.invalidate_caches()
    return failed


def run_tests(session: Session, paths: list[str]) -> dict[str, Any]:
    """The tests marked ``gpu``; on a CPU in Triton's interpreter."""
    report = session.folder / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", "-rs", f"--junitxml={report}"]
    if session.device == "cuda" and _has_room_for_four():
        command += ["-n", "4", "--dist", "worksteal"]  # most of the time goes into compiling kernels
    limit = session.left * TESTS_SHARE
    interpreted = {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"} if session.device == "cpu" else {}
    started = time.monotonic()
    code = session.run([*command, *paths], limit=limit if session.device == "cuda" else session.left, **interpreted)
    found: dict[str, Any] = {"exit_code": code, "seconds": round(time.monotonic() - started, 1)}
    if not report.exists():
        return found
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    counts = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
    cases = [(f"{case.get('classname')}::{case.get('name')}", case) for case in suite.iter("testcase")]
    failed = [name for name, case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = {name: reason.get("message", "") for name, case in cases if (reason := case.find("skipped")) is not None}
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    return {**found, "passed": passed, "failed": failed, "skipped": skipped}


def _has_room_for_four() -> bool:
    """Whether four processes can test side by side: cores to compile on, and memory for four large heads."""
    memory = torch.cuda.get_device_properties(0).total_memory
    return importlib.util.find_spec("xdist") is not None and (os.cpu_count() or 1) >= 8 and memory > 60 * 2**30


def run_benchmark(session: Session, name: str, *, timed: bool, limit: float) -> dict[str, Any]:
    """One benchmark's JSON, with its exit code; what it has found by the limit is kept.

    Args:
        timed: it takes ``--seconds`` and ``--without``: a competitor that takes the GPU with it is left out of a second try.
    """
    output = session.folder / f"{name}.json"
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), "--device", session.device, "--output", str(output)]
    command += ["--check"] if session.device == "cuda" else REHEARSAL[name].split()
    without: list[str] = []
    while True:
        extra = ["--seconds", f"{max(1.0, limit - LONGEST_SHAPE):.0f}"] if timed else []
        extra += ["--without", *without] if without else []
        code = session.run([*command, *extra], limit=limit)
        found = json.loads(output.read_text(encoding="utf-8")) if output.exists() else {}
        culprit = found.get("broken_by")
        if code != BROKEN or culprit in (None, "lilift", *without) or session.left < 2 * LONGEST_SHAPE:
            return {**found, "exit_code": code}
        without.append(culprit)
        limit = session.left


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Everything that needs a GPU, in one command.")
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"], help="cpu rehearses with tiny shapes")
    parser.add_argument("--wheels", type=Path, help="folder of wheels that this machine lacks")
    parser.add_argument("--seconds", type=float, default=560, help="be done after this long")
    parser.add_argument("--results", type=Path, default=FOLDER, help="folder for the JSON")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder for tables and plots")
    parser.add_argument("--tests", nargs="+", help="instead of all that are marked `gpu`")
    arguments = parser.parse_args(argv)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA GPU here; `--device cpu` rehearses without one", file=sys.stderr)
        return 1
    if arguments.wheels is not None and not arguments.wheels.is_dir():
        print(f"--wheels {arguments.wheels}: no such folder", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        session = Session(arguments.device, arguments.seconds, Path(folder))
        failed_wheels = install(session, arguments.wheels) if arguments.wheels is not None else {}
        absent = [] if arguments.tests else [name for name in MODEL_NEEDS if importlib.util.find_spec(name) is None]
        chosen = arguments.tests or [str(KERNEL_TESTS), *([] if absent else [str(MODEL_TESTS)])]
        tests = run_tests(session, chosen)
        if absent:
            tests.setdefault("skipped", {})[MODEL_TESTS.name] = f"not installed: {', '.join(absent)}"
            print(f"skipped {MODEL_TESTS.name}: not installed: {', '.join(absent)}")
        projection = run_benchmark(session, "alignment_projection", timed=False, limit=min(PROJECTION_SECONDS, session.left))
        loss = run_benchmark(session, "linear_cross_entropy", timed=True, limit=session.left)
    name = torch.cuda.get_device_name().lower().replace(" ", "-") if arguments.device == "cuda" else "cpu"
    found = {
        "wheels_not_installed": failed_wheels,
        "tests": tests,
        "linear_cross_entropy": loss,
        "alignment_projection": projection,
    }
    path = keep(name, found, arguments.results / f"{name}-{datetime.date.today().isoformat()}.json")
    page = render([path], arguments.docs)
    print(f"\ntests: {tests.get('passed', 0)} passed, {len(tests.get('failed', []))} failed, exit code {tests['exit_code']}")
    for part in (loss, projection):
        report_goals(part.get("summary", {}), part.get("goals", {}))
    print(f"{path}\n{page}")
    codes = (tests["exit_code"], loss["exit_code"], projection["exit_code"])
    return 0 if not any(codes) and not failed_wheels else 1


if __name__ == "__main__":
    sys.exit(main())
