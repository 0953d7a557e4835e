"""The seam to unsloth, which cannot be imported without a GPU: when it is used, how it is called, and what is never left to it.

A module of a few lines that loads with transformers stands in for it here; `make gpu` runs the real one.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaModel, PreTrainedModel

from lilift.data.texts.examples import Row
from lilift.model.assemble_bridge import attach_lora, load_bridge
from lilift.model.bridge import BridgedModel
from lilift.model.llms import unsloth_backend
from lilift.model.llms.output_head import backbone_of
from lilift.recipe.errors import EnvironmentUnfit, ModelError
from lilift.recipe.schema import LoraSettings, Recipe

# What `FastLanguageModel` of unsloth 2026.8 takes, of that which lilift gives.
LOADS_WITH = {
    "model_name", "revision", "max_seq_length", "dtype", "load_in_4bit", "load_in_16bit", "device_map",
    "use_gradient_checkpointing", "trust_remote_code", "use_exact_model_name", "fix_tokenizer",
}  # fmt: skip
ADAPTS_WITH = {
    "r", "lora_alpha", "lora_dropout", "target_modules", "use_gradient_checkpointing", "random_state",
}  # fmt: skip


class Double:
    """Loads with transformers what unsloth is asked for, and remembers how it was asked."""

    def __init__(self) -> None:
        self.loaded: dict[str, Any] = {}
        self.adapted: dict[str, Any] = {}
        self.statistics = ""

    def from_pretrained(self, **asked: Any) -> tuple[PreTrainedModel, None]:
        self.statistics = os.environ.get(unsloth_backend.STATISTICS_OFF, "")
        self.loaded = asked
        return AutoModelForCausalLM.from_pretrained(asked["model_name"], dtype=asked["dtype"]), None

    def get_peft_model(self, llm: PreTrainedModel, **asked: Any) -> Any:
        self.adapted = asked
        return get_peft_model(llm, LoraConfig(r=asked["r"], target_modules=asked["target_modules"], task_type="CAUSAL_LM"))


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Double:
    module = types.ModuleType("unsloth")
    module.__spec__ = importlib.machinery.ModuleSpec("unsloth", None)
    found = Double()
    module.FastLanguageModel = found  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "unsloth", module)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(unsloth_backend.metadata, "requires", lambda _name: [])
    monkeypatch.delenv(unsloth_backend.STATISTICS_OFF, raising=False)
    return found


@pytest.fixture
def recipe(recipe_of: Callable[..., Recipe]) -> Recipe:
    return recipe_of(llm_settings={"backend": "unsloth"})


def test_a_bridge_to_be_trained_has_its_llm_and_adapter_from_unsloth(double: Double, recipe: Recipe) -> None:
    bridge = load_bridge(recipe, device="cpu", to_train=True)
    attach_lora(bridge, LoraSettings(rank=4))
    assert double.loaded.keys() == LOADS_WITH
    assert double.adapted.keys() == ADAPTS_WITH
    assert double.statistics == "1"
    assert double.loaded["max_seq_length"] == recipe.data.max_tokens
    assert double.loaded["use_exact_model_name"] is True
    assert not double.loaded["load_in_4bit"]
    head = bridge.causal_lm.get_output_embeddings()
    assert isinstance(head, torch.nn.Linear)  # peft would have wrapped it
    assert {"q_proj", "down_proj"} <= set(double.adapted["target_modules"])
    rows = [Row((5, 6, 1), (3,), (4, 2)), Row((5, 1), (3,), (4, 4, 2))]
    assert torch.isfinite(bridge.loss(bridge.collate(rows)))


def test_a_bridge_that_answers_is_loaded_by_transformers(double: Double, recipe: Recipe) -> None:
    bridge = load_bridge(recipe, device="cpu")
    attach_lora(bridge, LoraSettings(rank=4))
    assert not double.loaded
    assert not double.adapted


@pytest.mark.parametrize("backend", ["auto", "transformers"])
def test_it_is_used_only_where_it_is_asked_for(double: Double, recipe_of: Callable[..., Recipe], backend: str) -> None:
    load_bridge(recipe_of(llm_settings={"backend": backend}), device="cpu", to_train=True)
    assert not double.loaded


def test_an_llm_through_which_no_gradient_comes_is_refused(
    double: Double, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As unsloth's forward pass does for families whose embeddings are scaled."""
    forward = LlamaModel.forward

    def cut(self: LlamaModel, **arguments: Any) -> Any:
        if arguments.get("inputs_embeds") is not None:
            arguments["inputs_embeds"] = arguments["inputs_embeds"].detach().requires_grad_()
        return forward(self, **arguments)

    monkeypatch.setattr(LlamaModel, "forward", cut)
    with pytest.raises(ModelError, match="cuts off the gradient"):
        load_bridge(recipe, device="cpu", to_train=True)
    assert double.loaded


def test_the_probe_leaves_no_gradient_behind(bridge_of: Callable[..., BridgedModel]) -> None:
    llm = bridge_of().causal_lm
    unsloth_backend.check_gradient_reaches_inputs(llm, backbone_of(llm), "it")
    assert not llm.training
    assert all(weight.grad is None for weight in llm.parameters())


def test_where_it_is_not_installed_one_line_says_so(recipe: Recipe) -> None:
    if unsloth_backend.problem() != "not installed":
        pytest.skip("unsloth is installed here")
    with pytest.raises(EnvironmentUnfit, match=r"llm\.backend is unsloth, .* not installed; set llm\.backend to transformers"):
        load_bridge(recipe, device="cpu", to_train=True)


@pytest.mark.usefixtures("double")
def test_other_versions_than_it_allows_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = {"requires": ["transformers<=4.0 ; extra == 'huggingfacenotorch'", "datasets<4.0 ; extra == 'other'", "numpy"]}
    monkeypatch.setattr(unsloth_backend.metadata, "requires", lambda _name: allowed["requires"])
    found = unsloth_backend.problem()
    assert found is not None
    assert found.startswith("it needs transformers<=4.0, and ")
    allowed["requires"] = ["transformers>=4.0 ; extra == 'huggingfacenotorch'"]
    assert unsloth_backend.problem() is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert unsloth_backend.problem() == "it needs a CUDA GPU"
