"""What loading takes on a CPU: the mapped files count beside the weights that are made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lilift.memory.model_configurations import load_config, loading_parts
from tests.memory import tiny_models

PARTS = {"llm": 300, "encoder": 200}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.make_models(tmp_path_factory.mktemp("models"))


def parts(folder: Path, *overrides: str) -> dict[str, int]:
    recipe = tiny_models.make_recipe(folder, *overrides)
    return loading_parts(recipe, (load_config(recipe.llm.model, None), load_config(recipe.encoder.model, None)), PARTS)


def test_the_llms_file_counts_beside_both_models(folder: Path) -> None:
    file = (folder / "llm" / "model.safetensors").stat().st_size
    found = parts(folder)  # quantised from float32
    assert (found["llm"], found["encoder"]) == (300, 200)
    assert found["temporaries"] == pytest.approx(file, rel=0.01)


def test_a_file_whose_pages_are_the_weights_counts_once(folder: Path) -> None:
    found = parts(folder, "llm.quantization=none", "llm.dtype=float32")
    assert found.get("temporaries", 0) == 0


def test_a_large_encoder_may_be_the_fuller_moment(folder: Path) -> None:
    found = parts(folder, "llm.quantization=none", "llm.dtype=float32", "encoder.quantization=nf4")
    assert "llm" not in found
    assert found["temporaries"] == pytest.approx((folder / "encoder" / "model.safetensors").stat().st_size, rel=0.05)
