"""Whole LLMs with lean layers, beside the plain layers of transformers and peft."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lilift.model.llms.lean_layers import gated_mlp, rms_norm
from lilift.model.llms.lora import add_lora
from lilift.model.llms.output_head import backbone_of
from lilift.recipe.schema import LoraSettings

FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3"]
LATENT = {"down_proj", "gate_proj", "up_proj", "gate_up_proj"}


def adapted(llm_of: Callable[..., tuple[Any, Any]], family: str, *, dropout: float = 0.0, **settings: Any) -> Any:
    """An LLM whose adapter's matrices are both far from zero, ready to train."""
    llm, _ = llm_of(family, **settings)
    llm = add_lora(llm, LoraSettings(rank=3, dropout=dropout), seed=0)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, weight in llm.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return llm.train()


def made_plain(llm: nn.Module) -> nn.Module:
    """The same LLM with the code of transformers and peft alone."""
    for module in llm.modules():
        module.__dict__.pop("forward", None)
    return llm


def results(llm: Any, *, seed: int = 3) -> dict[str, Tensor]:
    """Hidden states, and the gradients of the inputs and the adapter."""
    llm.zero_grad()
    generator = torch.Generator().manual_seed(seed)
    leaf = torch.randn(2, 14, 32, generator=generator).requires_grad_()
    torch.manual_seed(4)  # dropout
    hidden = backbone_of(llm.get_base_model())(inputs_embeds=leaf * 1, use_cache=False).last_hidden_state
    factors = torch.randn(hidden.shape, generator=generator)
    (hidden * factors).sum().backward()
    assert leaf.grad is not None
    found = {name: weight.grad for name, weight in llm.named_parameters() if weight.grad is not None}
    return {"hidden": hidden.detach(), "inputs": leaf.grad, **found}


def assert_alike(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, exact in expected.items():
        assert (found[name] - exact).norm() <= 2e-5 * exact.norm() + 1e-7, name


@pytest.mark.parametrize("quantization", ["nf4", "none"])
@pytest.mark.parametrize("family", FAMILIES)
def test_results_are_those_of_transformers_and_peft(
    family: str, quantization: str, llm_of: Callable[..., tuple[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rms_norm, "CHUNK", 32 * 5)
    llm = adapted(llm_of, family, quantization=quantization)
    whole = results(llm)
    monkeypatch.setattr(gated_mlp, "TILE", 6)
    tiled = results(llm)
    for module in llm.modules():
        if hasattr(module, "lean_recomputes"):
            module.lean_recomputes = False
    kept = results(llm)
    expected = results(made_plain(llm))
    assert len(expected) >= 2 + 2 * 2 * 4, "hidden states, inputs, and two matrices of four layers or more in two blocks"
    for found in (whole, tiled, kept):
        assert_alike(found, expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_norm_and_mlp_is_lean(family: str, llm_of: Callable[..., tuple[Any, Any]]) -> None:
    llm = adapted(llm_of, family)
    names = {name.rpartition(".")[2] for name, module in llm.named_modules() if "forward" not in module.__dict__}
    assert not {name for name in names if "norm" in name or name == "mlp"}
    assert not names & {"q_proj", "k_proj", "v_proj", "qkv_proj", "o_proj", *LATENT}


def test_gradients_do_not_depend_on_checkpoints(llm_of: Callable[..., tuple[Any, Any]]) -> None:
    with_checkpoints, without = (
        results(adapted(llm_of, "llama", quantization="nf4", gradient_checkpointing=kept)) for kept in (True, False)
    )
    assert_alike(with_checkpoints, without)


def test_dropout_draws_what_peft_draws(llm_of: Callable[..., tuple[Any, Any]]) -> None:
    llm = adapted(llm_of, "llama", dropout=0.3, gradient_checkpointing=True)
    found = results(llm)
    assert_alike(found, results(made_plain(llm)))
    llm.eval()
    assert not torch.allclose(found["hidden"], results(llm)["hidden"])


def test_an_adapter_that_is_switched_off_takes_no_part(llm_of: Callable[..., tuple[Any, Any]]) -> None:
    llm = adapted(llm_of, "qwen2")
    with llm.disable_adapter():
        off = results(llm)
    assert_alike({name: off[name] for name in ("hidden", "inputs")}, _without_adapter(llm_of, "qwen2"))


def _without_adapter(llm_of: Callable[..., tuple[Any, Any]], family: str) -> dict[str, Tensor]:
    llm = made_plain(adapted(llm_of, family))
    with llm.disable_adapter():  # type: ignore[operator]
        found = results(llm)
    return {name: found[name] for name in ("hidden", "inputs")}


def test_the_recomputation_of_a_layer_ends_before_its_mlp(
    llm_of: Callable[..., tuple[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    forward = gated_mlp.GatedMLP.forward
    monkeypatch.setattr(gated_mlp.GatedMLP, "forward", lambda *arguments: calls.append(1) or forward(*arguments))
    llm = adapted(llm_of, "llama", gradient_checkpointing=True)
    results(llm)
    assert len(calls) == llm.config.num_hidden_layers


def test_layers_that_compute_without_gradients_use_the_code_of_transformers(
    llm_of: Callable[..., tuple[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = adapted(llm_of, "llama")
    monkeypatch.setattr(rms_norm._RMSNorm, "apply", None)  # would fail if it was called
    monkeypatch.setattr(gated_mlp._Backward, "apply", None)
    with torch.no_grad():
        assert llm(input_ids=torch.arange(5)[None]).logits.isfinite().all()
