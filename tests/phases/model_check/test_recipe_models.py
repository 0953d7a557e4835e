"""What the files of a recipe's models say against a run is told before the run begins."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import huggingface_hub
import pytest

from lilift.cli import app
from lilift.model.snapshot import local_model_folder
from lilift.phases import rehearsals, run
from lilift.phases.model_check import small_files
from lilift.phases.model_check.recipe_models import unfit_models
from lilift.phases.run_folder import PHASES
from lilift.recipe.load import load_recipe

Changed = Callable[..., Path]


@pytest.fixture
def changed(tmp_path: Path) -> Changed:
    """A copy of a stand-in with other settings in its config.json, and without some files."""

    def copy(kind: str, *without: str, **settings: Any) -> Path:
        folder = tmp_path / kind
        shutil.copytree(local_model_folder(f"stand-in:{kind}", None), folder)
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))
        for name in without:
            (folder / name).unlink()
        return folder

    return copy


def lines(*overrides: str, without_torch: bool = False) -> dict[str, list[str]]:
    unfit = unfit_models(load_recipe("tiny-cpu", overrides), PHASES, without_torch=without_torch)
    return {phase: [str(error) for error in errors] for phase, errors in unfit.items()}


def test_nothing_is_said_against_the_stand_ins() -> None:
    assert not lines()


def test_an_llm_that_llama_cpp_does_not_compute_is_told_with_setting_and_remedy(changed: Changed) -> None:
    folder = changed("llm", hidden_act="gelu")
    for without_torch in (True, False):
        found = lines(f"llm.model={folder}", without_torch=without_torch)
        assert list(found) == ["export"]
        assert found["export"][0].startswith(f"llm.model: {folder}: llama.cpp computes this family with silu")
        assert "set `export.formats` to [hf]" in found["export"][0]
    assert not lines(f"llm.model={folder}", "export.formats=[hf]", without_torch=True)


def test_an_encoder_that_cannot_be_written_as_gguf_is_told(changed: Changed) -> None:
    byte_level = changed("encoder", "spiece.model")
    (told,) = lines(f"encoder.model={byte_level}", without_torch=True)["export"]
    assert told.startswith(f"encoder.model: {byte_level}: an exported bridge needs a SentencePiece file")
    assert "set `export.formats` to [hf]" in told


def test_an_llm_that_keeps_another_state_than_keys_and_values_is_told(changed: Changed) -> None:
    unlisted = changed("llm", model_type="falcon_h1", architectures=["FalconH1ForCausalLM"])
    found = lines(f"llm.model={unlisted}", "export.formats=[hf]", without_torch=True)
    assert "lilift cannot generate with: mamba" in found["evaluate"][0]


def test_an_adapter_that_fits_no_layer_is_told() -> None:
    (told,) = lines("transfer.lora.target_modules=[nowhere]", "export.formats=[hf]")["align"]
    assert told.startswith("transfer.lora.target_modules: LoRA cannot be added")


def test_weights_that_do_not_fit_the_configuration_are_told(changed: Changed) -> None:
    folder = changed("llm", num_key_value_heads=2)
    (told,) = lines(f"llm.model={folder}", "export.formats=[hf]")["align"]
    assert "k_proj.weight' has the sizes [128, 128], but the LLM's config.json says [64, 128]" in told


def test_a_folder_without_tokenizer_is_told(changed: Changed) -> None:
    folder = changed("llm", "tokenizer.json")
    assert "tokenizer" in lines(f"llm.model={folder}", "export.formats=[hf]")["align"][0]


def test_a_hub_that_cannot_be_reached_says_nothing_against_a_model() -> None:
    assert not lines("llm.model=someone/something", without_torch=True)


def test_a_model_on_the_hub_is_judged_by_its_small_files(changed: Changed, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = changed("encoder", "spiece.model", "model.safetensors")
    asked: list[Any] = []

    def download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision, allow_patterns))
        return str(folder)

    class Metadata:
        files_metadata: ClassVar[dict[str, Any]] = {}

    monkeypatch.setattr(small_files, "require_configuration", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub, "get_safetensors_metadata", lambda *_, **__: Metadata)
    (told,) = lines("encoder.model=someone/encoder", "encoder.revision=main", without_torch=True)["export"]
    assert told.startswith("encoder.model: someone/encoder: an exported bridge needs")
    assert [name for name, *_ in asked] == ["someone/encoder"]
    assert not any("safetensors" in pattern and "json" not in pattern for pattern in asked[0][2])


def test_quantised_weights_on_the_hub_are_told_from_their_headers(monkeypatch: pytest.MonkeyPatch, changed: Changed) -> None:
    folder = changed("llm", "model.safetensors")

    class Tensor:
        dtype, shape = "U8", [2]

    class File:
        tensors: ClassVar[dict[str, Any]] = {"model.layers.0.mlp.experts.blocks": Tensor}

    class Metadata:
        files_metadata: ClassVar[dict[str, Any]] = {"model.safetensors": File}

    monkeypatch.setattr(small_files, "require_configuration", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(folder))
    monkeypatch.setattr(huggingface_hub, "get_safetensors_metadata", lambda *_, **__: Metadata)
    (told,) = lines("llm.model=someone/llm", "export.formats=[hf]", without_torch=True)["export"]
    assert "stored as U8, so this model is already quantised" in told
    assert not lines("llm.model=someone/llm", "export.formats=[]", without_torch=True), "it may still be trained and answer"


def test_validate_plan_and_run_all_tell_it(
    changed: Changed, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = changed("llm", hidden_act="gelu")
    settings = ["tiny-cpu", "--set", f"llm.model={folder}"]
    told = f"llm.model: {folder}: llama.cpp computes this family with silu"
    plan = rehearsals.plan_recipe(load_recipe("tiny-cpu", [f"llm.model={folder}"]))
    for module in (rehearsals, run):  # one plan serves both commands
        monkeypatch.setattr(module, "plan_recipe", lambda *_, **__: plan)
    assert app.main(["recipe", "validate", *settings]) == 4
    assert told in capsys.readouterr().err
    assert app.main(["recipe", "plan", *settings]) == 0
    assert f"missing: {told}" in capsys.readouterr().out
    assert app.main(["recipe", "run", *settings, "--run-folder", str(tmp_path / "run")]) == 4
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run" / "data").exists()


def test_an_llm_that_cannot_answer_is_refused_before_the_plan(
    changed: Changed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = changed("llm", layer_types=["linear_attention"] * 2)
    settings = ["tiny-cpu", "--set", f"llm.model={folder}", "--set", "export.formats=[]"]
    for command in (["plan"], ["run", "--run-folder", str(tmp_path / "run")]):
        assert app.main(["recipe", command[0], *settings, *command[1:]]) == 4
        captured = capsys.readouterr()
        assert "lilift cannot generate with: linear_attention" in captured.err
        assert "predicted peak" not in captured.out


def test_the_quick_checks_do_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """They run in `lilift recipe validate`, which answers at once."""
    monkeypatch.setitem(sys.modules, "lilift.phases.model_check.configuration_checks", None)
    assert not lines(without_torch=True)
    with pytest.raises(ImportError):
        lines()
