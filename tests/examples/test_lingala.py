"""The example of the first hour: `recipe new` writes the committed recipe, and its README shows what lilift prints."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from lilift.cli import app
from lilift.phases.run import RunOptions, run_recipe
from lilift.recipe.load import load_recipe
from tests.examples.few_steps import FEW_STEPS

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "lingala"


def commands() -> list[list[str]]:
    """The commands of the README that call lilift."""
    fenced = (EXAMPLE / "README.md").read_text(encoding="utf-8").split("```")[1::2]
    lines = [line for block in fenced for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("lilift ")]


def test_recipe_new_writes_the_committed_recipe_and_prints_what_the_readme_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("lingala.tsv", "exercises.jsonl", "problems.csv"):
        (tmp_path / name).write_bytes((EXAMPLE / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    new, preview = commands()[:2]
    assert (new[:2], preview[:2]) == (["recipe", "new"], ["data", "preview"])
    assert app.main(new) == 0
    assert (tmp_path / "lingala.yaml").read_text(encoding="utf-8") == (EXAMPLE / "lingala.yaml").read_text(encoding="utf-8")
    found = [line for line in capsys.readouterr().out.splitlines() if line.startswith("    ")]
    assert len(found) == 7  # the last one is the memory of this machine
    assert "\n".join(found[:-1]) in readme
    assert app.main(preview) == 0
    shown = capsys.readouterr().out.split("\n\n")[0]
    assert shown in readme


def test_the_example_runs_on_the_stand_ins(tmp_path: Path) -> None:
    recipe = load_recipe(str(EXAMPLE / "lingala.yaml"), FEW_STEPS)
    run = run_recipe(recipe, tmp_path / "run", RunOptions(quiet=True))
    (scores,) = [one for system in run.scores for one in system.benchmarks]
    assert scores.benchmark == "custom-problems"
    assert {one.language: one.questions for one in scores.languages} == {"en": 2, "ln": 2}


def test_every_recipe_among_the_examples_is_valid() -> None:
    assert sorted(load_recipe(str(path)).name for path in EXAMPLE.parent.rglob("*.yaml")) == ["demo", "lingala"]
