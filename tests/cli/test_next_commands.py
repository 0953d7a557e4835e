"""The commands that lilift names after a run and after an export: the right ones, one a line, as a shell takes them."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from lilift.cli.export import next_commands
from lilift.cli.run_output import next_steps, print_commands
from lilift.phases.run import FinishedRun
from lilift.recipe.load import load_recipe
from lilift.recipe.storage import JsonLines


@pytest.fixture
def finished(tmp_path: Path) -> FinishedRun:
    """A finished run of `tiny-cpu` with one right answer that has an apostrophe, and without an export."""
    folder = tmp_path / "my runs" / "one"
    (folder / "transfer").mkdir(parents=True)
    (folder / "transfer" / "done.json").write_text("{}", encoding="utf-8")
    answers = folder / "evaluate" / "lifted" / "world"
    answers.mkdir(parents=True)
    JsonLines(answers / "om.jsonl").append({"question": "Mary qi'a $5?", "correct": True})
    return FinishedRun(folder, load_recipe("tiny-cpu"), [], {})


def test_after_a_run_that_exported_gguf_the_next_command_serves_it(finished: FinishedRun) -> None:
    words = [shlex.split(command) for command, _ in next_steps(finished)]
    assert ["lilift", "chat", str(finished.path), "Mary qi'a $5?"] in words
    assert ["lilift", "export", str(finished.path), "--to", "gguf", "--output", "my-model"] in words
    (finished.path / "export" / "gguf").mkdir(parents=True)
    (finished.path / "export" / "gguf" / "llm-f16.gguf").touch()
    words = [shlex.split(command) for command, _ in next_steps(finished)]
    assert ["lilift", "serve", str(finished.path / "export")] in words
    assert not [command for command in words if command[1] == "export"]
    assert ["lilift", "recipe", "new"] in words
    real = replace(finished, recipe=finished.recipe.model_copy(update={"name": "mine"}))
    assert ["lilift", "recipe", "new"] not in [shlex.split(command) for command, _ in next_steps(real)]


def test_after_an_export_the_next_commands_run_it_and_do_not_export_again() -> None:
    gguf = [command for command, _ in next_commands(Path("runs/a"), Path("my-model"), ("hf", "gguf"))]
    assert gguf == ["lilift chat my-model", "lilift serve my-model"]
    only_hf = [command for command, _ in next_commands(Path("runs/a"), Path("my-model"), ("hf",))]
    assert only_hf == ["lilift chat runs/a", "lilift export runs/a --to gguf --output my-model"]


def test_commands_are_never_wrapped_and_their_notes_are_comments(capsys: pytest.CaptureFixture[str]) -> None:
    long = f"lilift chat runs/a '{'word ' * 60}?'"
    print_commands([(long, "a question"), ("lilift serve my-model", "a page")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"  {long}  # a question"
    assert shlex.split(lines[1], comments=True) == ["lilift", "serve", "my-model"]
