"""After a stage that unsloth has trained, the run goes on in a process that unsloth has not changed."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from lilift.cli.app import build_parser
from lilift.cli.command_lines import resuming
from lilift.phases.run import RunOptions, run_recipe
from lilift.recipe.errors import EnvironmentUnfit
from lilift.recipe.load import load_recipe

SMALL = ["align.max_steps=1", "transfer.max_steps=1", "transfer.control=false", "evaluate.alignment=null", "export.formats=[]"]
SMALL += ["evaluate.untrained=false", "evaluate.benchmarks=[{name: world, limit: 1, languages: [en]}]"]


@pytest.mark.parametrize(
    ("begun", "goes_on"),
    [
        (["recipe", "run", "mine.yaml"], ["recipe", "run", "mine.yaml", "--resume"]),
        (["recipe", "run", "mine.yaml", "--resume"], ["recipe", "run", "mine.yaml", "--resume"]),
        (["recipe", "run", "a", "--restart-from", "align", "--json"], ["recipe", "run", "a", "--json", "--resume"]),
        (["recipe", "run", "a", "--restart-from=align", "--set", "x=1"], ["recipe", "run", "a", "--set", "x=1", "--resume"]),
        (["recipe", "run", "a", "--restart=align", "--unt", "export"], ["recipe", "run", "a", "--until", "export", "--resume"]),
    ],
)
def test_a_run_that_goes_on_begins_nothing_again(begun: list[str], goes_on: list[str]) -> None:
    assert resuming(build_parser().parse_args(begun), to_end=False) == goes_on


def test_evaluation_waits_for_a_process_without_unsloth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both stages are trained in this one; whoever calls it from Python is told what to do."""
    monkeypatch.setitem(sys.modules, "unsloth", types.ModuleType("unsloth"))
    recipe = load_recipe("tiny-cpu", SMALL)
    run_recipe(recipe, tmp_path, RunOptions(quiet=True, until="transfer"))
    with pytest.raises(EnvironmentUnfit, match="has changed transformers in this process; resume the run in a new process"):
        run_recipe(recipe, tmp_path, RunOptions(quiet=True, resume=True))
    assert (tmp_path / "transfer" / "done.json").exists()
    assert not (tmp_path / "evaluate").exists()


def test_the_command_line_starts_that_process_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "unsloth", types.ModuleType("unsloth"))
    started = []

    def start() -> None:
        started.append("anew")
        raise SystemExit(0)  # a process that is replaced does not come back

    recipe = load_recipe("tiny-cpu", SMALL)
    run_recipe(recipe, tmp_path, RunOptions(quiet=True, until="transfer"))
    with pytest.raises(SystemExit):
        run_recipe(recipe, tmp_path, RunOptions(quiet=True, resume=True, start_anew=start))
    assert started == ["anew"]
