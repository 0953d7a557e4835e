"""`lilift data`: what is shown and written is what stage 1 reads."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lilift.cli import app

SMALL = ("tiny-cpu", "--set", "languages=[om, qu]", "--set", "data.instructions.limit=40")


def test_a_preview_marks_every_switched_word_and_tells_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["data", "preview", *SMALL, "--count", "6", "--language", "qu", "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert app.main(["data", "preview", *SMALL, "--count", "6", "--language", "qu"]) == 0
    shown = capsys.readouterr().out
    assert len(lines) == 6
    assert {line["language"] for line in lines} == {"qu"}
    assert sum(len(line["swaps"]) for line in lines) > 0
    switched = [line for line in lines if line["swaps"]]
    assert shown.startswith(f"{switched[0]['id']}: qu, ")  # the first thing that a reader sees is a switched example
    for line in switched:
        marked = line["source"]
        for start, end, *_ in reversed(line["swaps"]):
            marked = f"{marked[:start]}‹{marked[start:end]}›{marked[end:]}"
        assert marked in shown
        assert f"→ {line['kind']}: {line['target']}" in shown


def test_every_epoch_is_another_draw(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for epoch in ("1", "2", "2"):
        app.main(["data", "preview", *SMALL, "--epoch", epoch, "--json"])
        shown.append([line["source"] for line in json.loads(capsys.readouterr().out)])
    assert shown[0] != shown[1] == shown[2]


def test_switch_writes_the_epochs_that_preview_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "switched.jsonl"
    assert app.main(["data", "switch", *SMALL, "--output", str(path), "--epochs", "2"]) == 0
    assert re.search(r"switched\.jsonl: \d+ lines", capsys.readouterr().out)
    written = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    app.main(["data", "preview", *SMALL, "--epoch", "2", "--count", "3", "--json"])
    assert json.loads(capsys.readouterr().out) == written[len(written) // 2 :][:3]
