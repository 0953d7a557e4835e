"""Files whose weights are not those of the configuration are refused before the run begins."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from lilift.model.snapshot import local_model_folder
from lilift.phases.model_check.recipe_models import unfit_models
from lilift.phases.run_folder import PHASES
from lilift.recipe.load import load_recipe


def said(kind: str, folder: Path, *overrides: str) -> list[str]:
    recipe = load_recipe("tiny-cpu", [f"{kind}.model={folder}", "export.formats=[hf]", *overrides])
    return [str(error) for error in unfit_models(recipe, PHASES).get("align", ())]


def configured(folder: Path, **settings: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def without_last_norm(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("kind", "change", "expected"),
    [
        ("llm", lambda folder: configured(folder, vocab_size=1300), "'model.embed_tokens.weight' has the sizes [1200, 128]"),
        ("llm", without_last_norm, "the weights of the LLM are incomplete: model.norm.weight is missing"),
        ("llm", cut, "lilift cannot read the weights"),
        ("encoder", lambda folder: configured(folder, vocab_size=3000), "the encoder's config.json says [3000, 256]"),
        (
            "encoder",
            lambda folder: configured(folder, num_layers=9),
            "the weights of the encoder are incomplete: encoder.block.2",
        ),
        ("encoder", cut, "lilift cannot read the weights"),
    ],
)
def test_weights_that_are_not_those_of_the_configuration_are_told(
    tmp_path: Path, kind: str, change: Callable[[Path], None], expected: str
) -> None:
    folder = tmp_path / kind
    shutil.copytree(local_model_folder(f"stand-in:{kind}", None), folder)
    assert not said(kind, folder)
    change(folder)
    (told,) = said(kind, folder)
    assert told.startswith(f"{kind}.model: {folder}: ")
    assert expected in told
