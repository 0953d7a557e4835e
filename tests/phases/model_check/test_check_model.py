"""`lilift model check`: what it prints, and with which code it ends."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lilift.cli import app
from lilift.model.snapshot import local_model_folder
from lilift.phases.model_check.check_model import QUESTIONS, check_model
from lilift.phases.model_check.twin_run import TwinRun


def changed(folder: Path, kind: str, **settings: Any) -> Path:
    shutil.copytree(local_model_folder(f"stand-in:{kind}", None), folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


def test_a_model_that_works_has_a_table_of_yes(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["model", "check", "stand-in:llm"]) == 0
    printed = capsys.readouterr().out
    assert "stand-in:llm: LlamaForCausalLM as LLM" in printed
    for question in QUESTIONS["llm"]:
        assert f"{question} " in printed
    assert "no" not in printed.split()


def test_a_model_that_lacks_something_has_reason_and_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = changed(tmp_path / "model", "llm", layer_types=["conv"] * 4)
    assert app.main(["model", "check", str(folder), "--json"]) == 4
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    verdicts = {finding["question"]: finding["verdict"] for finding in report["findings"]}
    assert not report["works"]
    assert verdicts["answers"] == "no"
    assert verdicts["trains in stage 1"] == "not checked"
    assert captured.err.startswith(
        f"lilift: {folder}: answers: no (the LLM has layers of a kind that lilift cannot generate with"
    )
    assert "choose an LLM" in captured.err


def test_what_a_step_of_the_twin_shows_is_the_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library's own error is a reason, not the end of the check; what depends on the step is not checked."""

    def fails(*_: Any) -> str:
        raise ZeroDivisionError("of a library")

    monkeypatch.setattr(TwinRun, "merge", fails)
    monkeypatch.setattr(TwinRun, "train", lambda *_: "trained")
    monkeypatch.setattr(TwinRun, "answer", lambda *_: "answered")
    report = check_model("stand-in:llm")
    assert [finding.verdict for finding in report.findings] == ["yes", "yes", "yes", "no", "not checked", "not checked"]
    assert report.findings[3].found == "ZeroDivisionError: of a library"


def test_a_model_that_is_nowhere_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["model", "check", "someone/something"]) == 4
    assert "the hub cannot be reached" in capsys.readouterr().err


def test_the_kind_can_be_chosen(tmp_path: Path) -> None:
    folder = changed(tmp_path / "model", "llm", layer_types=["conv"] * 4)
    assert check_model(str(folder)).kind == "llm"
    assert check_model("stand-in:encoder").kind == "encoder"
    assert check_model(str(folder), kind="encoder").verdict("GGUF") == "no"
