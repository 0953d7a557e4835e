"""Rows that are too long are known before any stage begins, from the tokenizers alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from lilift.cli import app
from lilift.data.prepare import gather
from lilift.phases.data_tokenizers import examine_with_tokenizers
from lilift.recipe.load import load_recipe

SMALL = ("languages=[om]", "data.instructions.limit=40")


def warnings(*overrides: str) -> list[str]:
    recipe = load_recipe("tiny-cpu", [*SMALL, *overrides])
    return list(examine_with_tokenizers(recipe, None, gather(recipe)[0]).long_rows)


def test_each_stage_and_limit_has_its_warning() -> None:
    assert warnings() == []
    found = warnings("encoder.max_tokens=8")
    assert [line.split(" are too long")[0].split("of the rows of ")[1] for line in found] == ["align", "transfer"]
    assert all("left out: their source texts have more than 8 tokens; set encoder.max_tokens higher" in line for line in found)
    for policy, fate in (("truncate", "cut"), ("error", "a reason to stop")):
        assert all(f"too long and {fate}: " in line for line in warnings("encoder.max_tokens=8", f"data.over_length={policy}"))
    assert any("set data.max_tokens higher" in line for line in warnings("data.max_tokens=16"))


def test_models_that_are_not_on_this_machine_are_not_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lilift.phases.data_tokenizers.load_llm_tokenizer", lambda _: pytest.fail("it was loaded"))
    assert warnings("llm.model=nobody/nothing-of-the-kind", "encoder.max_tokens=8") == []
    assert warnings("encoder.model=./nothing", "encoder.max_tokens=8") == []


def test_preview_and_the_data_phase_say_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [part for one in (*SMALL, "encoder.max_tokens=8") for part in ("--set", one)]
    assert app.main(["data", "preview", "tiny-cpu", *options, "--count", "1"]) == 0
    assert "set encoder.max_tokens higher" in capsys.readouterr().out
    assert app.main(["recipe", "run", "tiny-cpu", *options, "--until", "data", "--run-folder", str(tmp_path / "run")]) == 0
    assert "set encoder.max_tokens higher" in capsys.readouterr().out
    assert "set encoder.max_tokens higher" in (tmp_path / "run" / "data" / "report.json").read_text(encoding="utf-8")
    assert "set encoder.max_tokens higher" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
