"""Layer swapping: the combined adapter does to each layer what the published rule says, in peft and in the merged weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lilift.data.texts.examples import Row
from lilift.export.adapter_updates import read_adapter
from lilift.model.assemble_bridge import attach_lora, join_models
from lilift.model.bridge import BridgedModel
from lilift.model.bridge_files import load_part, save_part
from lilift.model.layer_swap import check_zones, layer_of, origin_of, swap_layers, zones_in_words
from lilift.recipe.errors import ModelError, RecipeError
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import AlignmentSettings, EncoderSettings, LayerSwapSettings, LLMSettings, LoraSettings
from lilift.recipe.sealed_folders import sealed_folder

LAYERS = 4
ZONES = LayerSwapSettings(bottom=1, top=0, transition=1)
PAPER = LayerSwapSettings()


def fresh() -> BridgedModel:
    llm = LLMSettings(model="stand-in:llm", quantization="none", dtype="float32", gradient_checkpointing=False)
    return join_models(EncoderSettings(model="none"), llm, AlignmentSettings(layout="text"), seed=0, device="cpu")


def expert(folder: Path, seed: int, *, rank: int = 4) -> Path:
    bridge = fresh()
    attach_lora(bridge, LoraSettings(rank=rank, alpha=8))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in bridge.named_parameters():
            if ".lora_" in name:
                weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))
    with sealed_folder(folder) as partial:
        save_part(bridge, "adapter", partial)
    return folder


def changes(folder: Path) -> dict[str, Tensor]:
    found = read_adapter(folder)
    return {
        name: one.scale * torch.from_numpy(found.weights.rows(one.b) @ found.weights.rows(one.a))
        for name, one in found.updates.items()
    }


@pytest.fixture(scope="module")
def swapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experts")
    language, task = expert(folder / "language", 1), expert(folder / "task", 2)
    swap_layers(language, task, folder / "both", ZONES, layers=LAYERS, details={"stage": "transfer"})
    return folder


def test_the_paper_s_llm_of_32_layers() -> None:
    origins = [origin_of(layer, 32, PAPER) for layer in range(32)]
    assert origins == ["language"] * 5 + ["mean"] + ["task"] * 23 + ["mean"] + ["language"] * 2
    assert origin_of(None, 32, PAPER) == "language"
    assert zones_in_words(PAPER, 32) == (
        "layers 0 to 4 from stage 1, layer 5 from the mean of both, layers 6 to 28 from stage 2, "
        "layer 29 from the mean of both, layers 30 to 31 from stage 1"
    )


def test_every_layer_changes_as_its_zone_says(swapped: Path) -> None:
    language, task, both = (changes(swapped / name) for name in ("language", "task", "both"))
    shares = {0: (1.0, 0.0), 1: (0.5, 0.5), 2: (0.0, 1.0), 3: (0.0, 1.0)}
    assert both.keys() == language.keys()
    assert {layer_of(name) for name in both} == set(shares)
    for name, change in both.items():
        of_language, of_task = shares[layer_of(name) or 0]
        expected = of_language * language[name] + of_task * task[name]
        torch.testing.assert_close(change, expected, rtol=1e-5, atol=1e-7)


def test_a_live_model_with_it_is_the_model_with_the_changed_weights(swapped: Path) -> None:
    row = Row((), (1, 40, 50, 60, 70), (80, 90, 2))
    live = fresh()
    load_part(live, "adapter", swapped / "both")
    changed = fresh()
    weights = dict(changed.causal_lm.named_parameters())
    with torch.no_grad():
        plain = float(changed.loss(changed.collate([row])))
        for name, change in changes(swapped / "both").items():
            weights[name] += change
        expected = float(changed.loss(changed.collate([row])))
        assert abs(float(live.loss(live.collate([row]))) - expected) < 1e-4 < abs(plain - expected)


def test_experts_that_do_not_fit_are_refused(swapped: Path, tmp_path: Path) -> None:
    other = expert(tmp_path / "other", 3, rank=2)
    with pytest.raises(ModelError, match="instead of"):
        swap_layers(other, swapped / "task", tmp_path / "both", ZONES, layers=LAYERS, details={})


def test_an_llm_with_too_few_layers_is_refused() -> None:
    with pytest.raises(RecipeError, match="take 9 layers, and the LLM has only 4"):
        check_zones(PAPER, LAYERS)
    check_zones(ZONES, LAYERS)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["transfer.layer_swap={}"], r"transfer\.layer_swap: it combines the adapters of both stages"),
        (["transfer.layer_swap={bottom: 0, top: 0}"], "leave layer_swap out"),
        (["align.texts=[monolingual]"], r"data\.monolingual: the recipe names no text file"),
        (["align.texts=[monolingual]", "data.monolingual.files=x"], r"align\.texts: monolingual needs"),
    ],
)
def test_recipes_that_cannot_do_it_are_refused(overrides: list[str], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        load_recipe("tiny-cpu", overrides)
