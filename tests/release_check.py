"""`python -m tests.release_check WHEEL`: install a wheel as a stranger does, away from the repository, and use it.

It makes one environment for training and one that only runs exports, both below `build/release`. In the first one it runs a
recipe to its end. In the second one, which has no torch, the export answers a question. A step that fails ends the check.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RELEASE = ROOT / "build" / "release"


class Environment:
    """An environment of its own, whose commands see nothing of this repository.

    Args:
        folder: where it is. It is made if there is none.
        where: the folder in which its commands run.
    """

    def __init__(self, folder: Path, where: Path) -> None:
        self._programs, self._where = folder / ("Scripts" if os.name == "nt" else "bin"), where
        if not folder.exists():
            say(f"a fresh environment in {folder}")
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)

    def run(self, program: str, *words: str, keep: bool = False) -> str:
        """Run a program of the environment; returns what it printed, if `keep`, and otherwise shows it."""
        say(f"{program} {' '.join(words)}")
        cleared = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        path = os.pathsep.join([str(self._programs), cleared.get("PATH", "")])
        done = subprocess.run(
            [str(self._programs / program), *words],
            cwd=self._where,
            env=cleared | {"PATH": path},
            stdout=subprocess.PIPE if keep else None,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"release check: {program} {' '.join(words)} ended with {done.returncode}")
        return done.stdout or ""

    def has(self, package: str) -> bool:
        """Whether it can import a package."""
        found = self.run("python", "-c", f"import importlib.util as u; print(u.find_spec({package!r}) is not None)", keep=True)
        return found.strip() == "True"


def say(line: str) -> None:
    print(f"release check: {line}", flush=True)


def require(right: bool, what: str) -> None:
    """End the check unless something is as it must be."""
    if not right:
        sys.exit(f"release check: {what}")
    say(f"right: {what}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Install a wheel in fresh environments, and train, export and chat with it.")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--torch", default="torch", help="what `pip install` gets before the wheel, to choose torch's build")
    parser.add_argument("--environment", type=Path, help="an environment for training, instead of a fresh one")
    parser.add_argument("--recipe", default="tiny-cpu")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="A.B=C")
    given = parser.parse_args(arguments)
    wheel = given.wheel.resolve()
    for name in ("train", "gguf"):
        shutil.rmtree(RELEASE / name, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="lilift-release-") as folder:
        where = Path(folder)
        training = Environment(given.environment or RELEASE / "train", where)
        if given.environment is None:
            training.run("python", "-m", "pip", "install", "--quiet", *shlex.split(given.torch))
        training.run("python", "-m", "pip", "install", "--quiet", f"{wheel}[train,gguf]")
        training.run("python", "-m", "pip", "check")
        installed = Path(training.run("python", "-c", "import lilift; print(lilift.__file__)", keep=True).strip())
        require(ROOT not in installed.parents or RELEASE in installed.parents, f"lilift comes from {installed}")
        training.run("lilift", "doctor")
        settings = [word for setting in given.overrides for word in ("--set", setting)]
        training.run("lilift", "recipe", "run", given.recipe, "--run-folder", "run", *settings)
        running = Environment(RELEASE / "gguf", where)
        running.run("python", "-m", "pip", "install", "--quiet", f"{wheel}[gguf]")
        running.run("python", "-m", "pip", "check")
        require(not running.has("torch"), "an environment that runs exports has no torch")
        answer = running.run("lilift", "chat", "run/export", "Mokonzi kozala na libata moke 20 mpe libata jaune 7.", keep=True)
        require(bool(answer.strip()), f"the export answers: {answer.strip()}")
        scores = json.loads((where / "run" / "evaluate" / "scores.json").read_text(encoding="utf-8"))
        for system in scores["systems"]:
            for benchmark in system["benchmarks"]:
                say(f"{system['title']}, {benchmark['benchmark']}: {100 * benchmark['macro']:.0f}% without English")
    say("done")


if __name__ == "__main__":
    main()
