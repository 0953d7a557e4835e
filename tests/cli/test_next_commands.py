"""The commands that lilift names after a run and after an export: the right ones, one a line, as a shell takes them."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from lilift.cli import app
from lilift.cli.app import build_parser
from lilift.cli.command_lines import resuming
from lilift.cli.console import print_table
from lilift.cli.export import next_commands
from lilift.cli.run_output import next_steps, print_commands
from lilift.phases.run import FinishedRun
from lilift.processes.torchrun_environment import LAUNCHED_BY_LILIFT
from lilift.recipe.load import load_recipe, shipped_recipes
from lilift.recipe.storage import JsonLines

RESUME = "lilift recipe run tiny-cpu --resume"


@pytest.fixture
def finished(tmp_path: Path) -> FinishedRun:
    """A finished run of `tiny-cpu` with one right answer that has an apostrophe, and without an export."""
    folder = tmp_path / "my runs" / "one"
    for phase in ("data", "align", "transfer", "control", "evaluate"):
        (folder / phase).mkdir(parents=True)
        (folder / phase / "done.json").write_text("{}", encoding="utf-8")
    answers = folder / "evaluate" / "lifted" / "world"
    answers.mkdir(parents=True)
    JsonLines(answers / "om.jsonl").append({"question": "Mary qi'a $5?", "correct": True})
    return FinishedRun(folder, load_recipe("tiny-cpu", ["export.formats=[]"]), [], {})


def test_after_a_run_that_exported_gguf_the_next_command_serves_it(finished: FinishedRun) -> None:
    words = [shlex.split(command) for command, _ in next_steps(finished, RESUME)]
    assert ["lilift", "chat", str(finished.path), "Mary qi'a $5?"] in words
    assert ["lilift", "export", str(finished.path), "--to", "gguf", "--output", "my-model"] in words
    (finished.path / "export" / "gguf").mkdir(parents=True)
    (finished.path / "export" / "gguf" / "llm-f16.gguf").touch()
    words = [shlex.split(command) for command, _ in next_steps(finished, RESUME)]
    assert ["lilift", "serve", str(finished.path / "export")] in words
    assert not [command for command in words if command[1] == "export"]
    assert ["lilift", "recipe", "new"] in words
    real = replace(finished, recipe=finished.recipe.model_copy(update={"name": "mine"}))
    assert ["lilift", "recipe", "new"] not in [shlex.split(command) for command, _ in next_steps(real, RESUME)]


def test_after_a_phase_that_the_user_named_the_next_command_continues(finished: FinishedRun) -> None:
    (finished.path / "evaluate" / "done.json").unlink()
    (finished.path / "control" / "done.json").unlink()
    assert next_steps(finished, RESUME)[0] == (RESUME, "continue with control, evaluate")
    assert (f"lilift chat {shlex.quote(str(finished.path))}", "ask questions in the terminal") in next_steps(finished, RESUME)
    (finished.path / "transfer" / "done.json").unlink()  # nothing to chat with yet
    assert next_steps(finished, RESUME) == [(RESUME, "continue with transfer, control, evaluate")]


def test_a_model_that_cannot_be_gguf_is_not_offered_as_gguf(finished: FinishedRun) -> None:
    recipe = load_recipe("tiny-cpu", ["export.formats=[]", "encoder.add_embeddings=false", "alignment.layers=mix"])
    commands = [command for command, _ in next_steps(replace(finished, recipe=recipe), RESUME)]
    assert f"lilift export {shlex.quote(str(finished.path))} --to hf --output my-model" in commands
    assert not [command for command in commands if "gguf" in command]


def test_after_an_export_the_next_commands_run_it_and_do_not_export_again() -> None:
    gguf = [command for command, _ in next_commands(Path("runs/a"), Path("my-model"), ("hf", "gguf"), gguf=True)]
    assert gguf == ["lilift chat my-model", "lilift serve my-model"]
    unable = next_commands(Path("runs/a"), Path("my-model"), ("hf",), gguf=False)
    assert [command for command, _ in unable] == ["lilift chat runs/a"]
    only_hf = [command for command, _ in next_commands(Path("runs/a"), Path("my-model"), ("hf",), gguf=True)]
    assert only_hf == ["lilift chat runs/a", "lilift export runs/a --to gguf --output my-model"]


def test_commands_are_never_wrapped_and_their_notes_are_comments(capsys: pytest.CaptureFixture[str]) -> None:
    long = f"lilift chat runs/a '{'word ' * 60}?'"
    print_commands([(long, "a question"), ("lilift serve my-model", "a page")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"  {long}  # a question"
    assert shlex.split(lines[1], comments=True) == ["lilift", "serve", "my-model"]


def test_the_command_that_continues_has_the_options_of_the_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["recipe", "run", "my.yaml", "--set", "languages=[sw, ha]", "--run-folder", "runs/my two", "--until", "align"]
    parsed = build_parser().parse_args([*given, "--restart-from", "data", "--strict", "--json"])
    assert resuming(parsed, to_end=True) == [*given[:-2], "--strict", "--resume"]
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "x",
        "MASTER_PORT": "1",
        LAUNCHED_BY_LILIFT: "1",
    }.items():
        monkeypatch.setenv(name, value)  # as in a process of `--processes 2`
    assert resuming(parsed, to_end=True) == [*given[:-2], "--processes", "2", "--strict", "--resume"]


@pytest.mark.parametrize("columns", [60, 80])
def test_in_a_narrow_terminal_no_name_and_no_command_is_cut_or_broken(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("lilift.cli.console.is_terminal", lambda _: True)
    assert app.main(["recipe", "list"]) == 0
    listed = capsys.readouterr().out
    for name, path in shipped_recipes().items():
        assert name in listed.splitlines()
        assert load_recipe(str(path)).llm.model in listed
    long = "x" * 200
    print_table("one", ("name", "what"), [("short", "word " * 40)], prose=(1,))
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= columns
    print_table(None, ("name of several words", "another one", "peak"), [("a few words", "more words", "5 × 192")])
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert "name of several words" in shown
    print_table("one", ("name", "what"), [("short", long)])
    assert f"    what {long}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        app.main(["eval", "harness", "--help"])
    shown = capsys.readouterr().out
    assert "`pip install 'lilift[lm-eval]'`" in shown
    assert "--model_args system=control batch_tokens=4096" in shown
