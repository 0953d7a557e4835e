"""Folders that look like a model and are none, or none that lilift can train: one line for each, before the run begins."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import transformers

from lilift.cli import app
from lilift.model.snapshot import local_model_folder
from lilift.phases.model_check.recipe_models import unfit_models
from lilift.phases.run_folder import PHASES
from lilift.recipe.load import load_recipe


def copied(folder: Path, kind: str, **settings: Any) -> Path:
    """A stand-in with other settings; a setting that is None is left out."""
    shutil.copytree(local_model_folder(f"stand-in:{kind}", None), folder)
    path = folder / "config.json"
    changed = json.loads(path.read_text()) | settings
    path.write_text(json.dumps({name: value for name, value in changed.items() if value is not None}))
    return folder


def said(kind: str, folder: Path, *overrides: str, without_torch: bool = False) -> str:
    recipe = load_recipe("tiny-cpu", [f"{kind}.model={folder}", *overrides])
    unfit = unfit_models(recipe, PHASES, without_torch=without_torch)
    return str(next(iter(unfit.values()))[0])


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("llm", {"quantization_config": {"quant_method": "gptq", "bits": 4}}, "already quantised (gptq), so that lilift"),
        ("llm", {"quantization_config": {"quant_method": "mxfp4"}}, "already quantised (mxfp4), so that lilift"),
        ("llm", {"hidden_size_per_layer_input": 8}, "has embeddings of each token in every layer"),
        ("llm", {"vocab_size": "many"}, "Field 'vocab_size' expected int"),
        ("llm", {"model_type": None, "architectures": None}, "names no `model_type` that this version of transformers knows"),
        ("llm", {"model_type": "brand-new", "architectures": ["New"]}, "does not know the model's architecture"),
        ("encoder", {"model_type": "brand-new", "architectures": ["New"]}, "does not know the model's architecture"),
        ("llm", {"model_type": "vit", "architectures": ["ViTModel"]}, "no text model for 'vit', so it cannot be the LLM"),
        (
            "encoder",
            {"model_type": "vit", "architectures": ["ViTModel"]},
            "no text model for 'vit', so it cannot be the encoder",
        ),
        ("encoder", {"model_type": "whisper", "architectures": ["WhisperModel"]}, "it cannot be the encoder"),
    ],
)
def test_a_configuration_that_lilift_cannot_train_is_told(
    tmp_path: Path, kind: str, settings: dict[str, Any], expected: str
) -> None:
    folder = copied(tmp_path / "model", kind, **settings)
    told = said(kind, folder, without_torch=True)  # as `validate` does; the GGUF file is the lesser problem
    assert told.startswith(f"{kind}.model: {folder}: ")
    assert expected in told


def test_weights_of_bitsandbytes_may_be_trained(tmp_path: Path) -> None:
    settings = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    folder = copied(tmp_path / "model", "llm", **settings)
    assert not unfit_models(load_recipe("tiny-cpu", [f"llm.model={folder}", "export.formats=[]"]), PHASES)


def test_an_encoder_is_no_llm(tmp_path: Path) -> None:
    folder = copied(tmp_path / "model", "llm")
    transformers.XLMRobertaConfig(vocab_size=1200, architectures=["XLMRobertaForMaskedLM"]).save_pretrained(folder)
    assert "an encoder or an encoder-decoder, and no LLM" in said("llm", folder, "export.formats=[hf]")


def test_an_llm_is_no_encoder(tmp_path: Path) -> None:
    folder = copied(tmp_path / "model", "llm")
    told = said("encoder", folder, without_torch=True)
    assert told.startswith(f"encoder.model: {folder}: the model reads a text from left to right")


def test_an_llm_with_bidirectional_attention_is_no_llm(tmp_path: Path) -> None:
    settings = {"model_type": "gemma3_text", "use_bidirectional_attention": True, "architectures": ["Gemma3ForCausalLM"]}
    folder = copied(tmp_path / "model", "llm", **settings)
    assert "an encoder or an encoder-decoder, and no LLM" in said("llm", folder, "export.formats=[hf]")


def test_an_encoder_without_positions_for_the_longest_text_is_told(tmp_path: Path) -> None:
    folder = copied(tmp_path / "model", "encoder")
    config = transformers.XLMRobertaConfig(
        vocab_size=2500, hidden_size=32, num_attention_heads=2, num_hidden_layers=1, max_position_embeddings=66
    )
    config.save_pretrained(folder)
    told = said("encoder", folder, "export.formats=[hf]", "encoder.max_tokens=80")
    assert "the encoder reads at most 64 tokens, not encoder.max_tokens = 80" in told


def test_a_chat_template_is_looked_for_before_the_plan() -> None:
    told = said("llm", local_model_folder("stand-in:llm", None), "data.template=chat")
    assert "the LLM has no chat template of its own; choose another data.template" in told


@pytest.mark.parametrize("content", ["[]", "{", ""])
@pytest.mark.parametrize("kind", ["llm", "encoder"])
def test_a_damaged_configuration_is_told(tmp_path: Path, kind: str, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied(tmp_path / "model", kind)
    (folder / "config.json").write_text(content)
    assert app.main(["recipe", "validate", "tiny-cpu", "--set", f"{kind}.model={folder}"]) == 4
    assert "lilift cannot read the model's config.json" in capsys.readouterr().err


def test_damaged_generation_settings_are_told(tmp_path: Path) -> None:
    folder = copied(tmp_path / "model", "llm")
    (folder / "generation_config.json").write_text("{")
    assert "cannot load the LLM's generation settings" in said("llm", folder)


def test_validate_names_a_model_that_it_has_not_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["recipe", "validate", "tiny-cpu", "--set", "llm.model=someone/something"]) == 0
    captured = capsys.readouterr()
    assert "lilift has not checked llm.model: someone/something is not in the hub's cache" in captured.err
    assert "tiny-cpu: valid" in captured.out
