"""LoRA adapters on an LLM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lilift.model.llms.lora import add_lora
from lilift.recipe.errors import RecipeError
from lilift.recipe.schema import LoraSettings


def test_lora_starts_from_its_seed_and_touches_nothing_else(llm_of: Callable[..., tuple[Any, Any]]) -> None:
    def adapter(seed: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.dtype]]:
        llm, _ = llm_of("llama", quantization="nf4", dtype="bfloat16")
        types = {name: parameter.dtype for name, parameter in llm.named_parameters()}
        torch.rand(seed + 3)  # what ran before must not matter
        weights = dict(add_lora(llm, LoraSettings(rank=4), seed=seed).named_parameters())
        after = {
            name.replace("base_model.model.", "").replace("base_layer.", ""): value.dtype for name, value in weights.items()
        }
        assert {name: after[name] for name in types} == types, "nothing is widened to float32"
        return {name: value for name, value in weights.items() if "lora_" in name}, types

    first, again, other = adapter(1)[0], adapter(1)[0], adapter(2)[0]
    assert {weight.dtype for weight in first.values()} == {torch.float32}
    assert len(first) == 28, "two matrices for each of 14 layers, and none for the head"
    assert all(torch.equal(weight, again[name]) for name, weight in first.items())
    assert any(not torch.equal(weight, other[name]) for name, weight in first.items())


def test_lora_on_layers_that_are_not_there_is_one_line(llm_of: Callable[..., tuple[Any, Any]]) -> None:
    llm, _ = llm_of("llama")
    with pytest.raises(RecipeError, match=r"transfer\.lora\.target_modules: LoRA cannot be added"):
        add_lora(llm, LoraSettings(target_modules=("no_such_layer",)), seed=0)
