"""What a run would stop for after days of training is told before it begins."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from lilift.cli import app
from lilift.phases import readiness
from lilift.phases.readiness import missing_for
from lilift.phases.run_folder import PHASES
from lilift.recipe.errors import EnvironmentUnfit, RecipeError
from lilift.recipe.load import load_recipe


def lines(*overrides: str) -> list[str]:
    return [str(error) for error in missing_for(load_recipe("tiny-cpu", overrides), PHASES)]


def test_a_recipe_with_everything_at_hand_lacks_nothing() -> None:
    assert not lines()


def test_everything_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    found = lines(
        f"data.lexicons={tmp_path}/lexicons",
        "evaluate.benchmarks=[{name: mmwp, path: " + str(tmp_path / "mmwp") + "}]",
        f"evaluate.alignment={tmp_path}/flores",
    )
    assert len(found) == 3
    assert "lilift lexicon fetch" in found[0]
    assert "mmwp" in found[1]
    assert "flores" in found[2]


def test_a_language_that_the_generated_benchmark_does_not_know_is_told() -> None:
    found = lines("evaluate.benchmarks=[{name: world, languages: [sw]}]")
    assert len(found) == 1
    assert "sw" in found[0]


def test_a_translator_that_is_missing_or_lacks_a_language_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ctranslate2", reason="lilift translates with ctranslate2 (extra `pivot`)")
    [missing] = lines(f"evaluate.pivot={{model: {tmp_path}/nllb}}")
    assert "no such folder with a translator" in missing
    (tmp_path / "model.bin").write_bytes(b"weights")
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    for codes, expected in (["eng_Latn", "swh_Latn"], 1), (["eng_Latn", "gaz_Latn", "quy_Latn", "lin_Latn", "fij_Latn"], 0):
        (tmp_path / "shared_vocabulary.json").write_text(json.dumps(codes), encoding="utf-8")
        assert len(lines(f"evaluate.pivot={{model: {tmp_path}}}")) == expected
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    [missing] = lines(f"evaluate.pivot={{model: {tmp_path}}}")
    assert "pip install 'lilift[pivot]'" in missing
    with pytest.raises(RecipeError, match="does not translate the questions of xnli"):
        load_recipe("tiny-cpu", [f"evaluate.pivot={{model: {tmp_path}}}", "evaluate.benchmarks=[{name: xnli, source: sample}]"])


def test_only_what_the_phases_need_is_looked_for(tmp_path: Path) -> None:
    recipe = load_recipe("tiny-cpu", ["evaluate.benchmarks=[{name: mmwp, path: " + str(tmp_path) + "}]"])
    assert not missing_for(recipe, ["data", "align", "transfer", "export"])
    assert len(missing_for(recipe, ["evaluate"])) == 1


def test_a_quantiser_is_looked_for_where_llamacpp_must_quantise(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise EnvironmentUnfit("no quantiser")

    monkeypatch.setattr(readiness, "quantiser", nowhere)
    assert lines("export.quantisations=[q4_k_m]") == ["no quantiser"]
    assert not lines("export.quantisations=[f16, q8_0]")
    assert not lines("export.quantisations=[q4_k_m]", "export.formats=[hf]")


def test_a_run_whose_benchmark_is_missing_stops_before_it_begins_and_can_be_begun_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, files = tmp_path / "run", tmp_path / "mgsm"
    benchmarks = "evaluate.benchmarks=[{name: mgsm, languages: [en], path: " + str(files) + "}]"
    settings = ["--set", benchmarks, "--set", "data.instructions.limit=20"]
    command = ["recipe", "run", "tiny-cpu", "--run-folder", str(run), *settings]
    assert app.main(command) == 3
    captured = capsys.readouterr()
    assert captured.err.startswith(f"lilift: {files}")
    assert "predicted peak" not in captured.out, "what is missing is told before the plan, which takes its time"
    assert not run.exists()

    files.mkdir()
    (files / "mgsm_en.tsv").write_text("What is 1 + 1?\t2\n", encoding="utf-8")
    capsys.readouterr()
    assert app.main([*command, "--until", "data"]) == 0, "nothing is there that --resume would have to go on with"
    assert app.main([*command, "--until", "data"]) == 5, "now there is"
    assert "--resume" in capsys.readouterr().err


def test_a_data_source_can_be_mended_without_being_asked_to_start_over(tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ["recipe", "run", "tiny-cpu", "--run-folder", str(run), "--until", "data", "--set", "data.instructions.limit=20"]
    assert app.main([*command, "--set", f"data.instructions.source={tmp_path}/nothing.jsonl"]) == 3
    assert app.main(command) == 0


def test_a_plan_lists_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["recipe", "plan", "tiny-cpu", "--set", f"data.lexicons={tmp_path}/lexicons"]
    assert app.main(command) == 0
    assert f"missing: {tmp_path}/lexicons: has no lexicon of Oromo (om)" in capsys.readouterr().out


def test_a_run_that_has_no_room_does_not_begin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000_000))
    assert app.main(["recipe", "run", "tiny-cpu", "--run-folder", str(tmp_path / "run")]) == 8
    line = capsys.readouterr().err
    assert "no room for this run" in line
    assert "--run-folder" in line
    assert not list(tmp_path.iterdir())
