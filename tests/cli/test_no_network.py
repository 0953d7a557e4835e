"""lilift and the libraries under it look up no name on the network, but for what the user has named on the hub."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import NoReturn

import datasets
import huggingface_hub.constants
import pytest

from lilift.cli import app
from lilift.data.rows.hub_rows import _quiet


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Every name that is looked up, and refused. The libraries believe that they are online."""
    names: list[str] = []

    def refuse(host: object, *_: object, **__: object) -> NoReturn:
        names.append(str(host))
        raise socket.gaierror(socket.EAI_AGAIN, "refused by the test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", True)
    monkeypatch.chdir(tmp_path)
    return names


def instructions(folder: Path) -> Path:
    path = folder / "a.jsonl"
    lines = (json.dumps({"question": f"What is {number} + 2?", "answer": f"#### {number + 2}"}) for number in range(30))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_name_on_the_hub_is_looked_up_there_alone(looked_up: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The other tests of this file mean something only because this one sees a look-up."""
    assert app.main(["chat", "lilift-tests/no-such-model", "Vica?"]) == 4
    assert set(looked_up) == {"huggingface.co"}
    assert "cannot be reached" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ("doctor",),
        ("recipe", "list"),
        ("recipe", "show", "tiny-cpu"),
        ("recipe", "plan", "tiny-cpu", "--instant"),
        ("chat", "stand-in:llm", "Vica?", "--max-new-tokens", "2"),
        ("eval", "stand-in:llm", "--benchmark", "world", "--languages", "om", "--limit", "1", "--max-new-tokens", "2"),
        ("data", "preview", "tiny-cpu", "--set", "data.instructions.source=a.jsonl"),
    ],
    ids=" ".join,
)
def test_commands_on_local_files_ask_nobody(looked_up: list[str], tmp_path: Path, command: tuple[str, ...]) -> None:
    instructions(tmp_path)
    assert app.main(command) == 0
    assert looked_up == []


def test_datasets_does_not_count_the_use_of_a_local_file_on_a_public_server(looked_up: list[str], tmp_path: Path) -> None:
    path = instructions(tmp_path)
    with _quiet():
        rows = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == 30
    assert looked_up == []
    datasets.load_dataset_builder("json", data_files=str(path), cache_dir=str(tmp_path / "cache"))
    assert looked_up == ["s3.amazonaws.com"], "if `datasets` no longer does this, lilift need not turn it off"
