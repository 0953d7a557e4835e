"""Weights dequantised for answering: what stays equal to the bit, what an adapter adds, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bitsandbytes
import pytest
import torch

from lilift.data.texts.examples import Row
from lilift.model.assemble_bridge import attach_lora
from lilift.model.bridge import BridgedModel
from lilift.model.decoding.dequantised_weights import dequantise, dequantised, dequantised_bytes, quantise_again
from lilift.recipe.schema import LoraSettings
from tests.model.conftest import LLMS


def four_bit(llm: Any) -> list[Any]:
    return [module for module in llm.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", LLMS)
def test_every_layer_computes_the_same_to_the_bit(family: str, dtype: str, llm_of: Callable[..., Any]) -> None:
    llm, _ = llm_of(family, quantization="nf4", dtype=dtype)
    ids = torch.randint(0, 320, (3, 9), generator=torch.Generator().manual_seed(0))
    layers = four_bit(llm)
    assert layers
    with torch.no_grad():
        inputs = [torch.randn(2, 5, layer.in_features).to(llm.dtype) for layer in layers]
        before = [layer(x) for layer, x in zip(layers, inputs, strict=True)]
        logits = llm(ids).logits
        dequantise(llm)
        assert sum(weight.nbytes for weight in dequantised(llm)) == dequantised_bytes(llm)
        assert all(torch.equal(layer(x), one) for layer, x, one in zip(layers, inputs, before, strict=True))
        assert torch.equal(llm(ids).logits, logits)
        assert quantise_again(llm)
        assert not dequantised(llm)
        assert torch.equal(llm(ids).logits, logits)
    assert not quantise_again(llm), "there is nothing left to undo"


def adapted(bridge: BridgedModel) -> Any:
    attach_lora(bridge, LoraSettings(rank=4, alpha=8))
    with torch.no_grad():
        for name, parameter in bridge.llm.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
    return bridge.causal_lm.eval()


def test_an_adapter_stays_beside_weights_in_16_bits(bridge_of: Callable[..., BridgedModel]) -> None:
    bridge = bridge_of("llama", llm_settings={"quantization": "nf4", "dtype": "bfloat16"})
    llm = adapted(bridge)
    ids = torch.arange(12).view(2, 6)
    with torch.no_grad():
        before = llm(ids).logits
        dequantise(llm)
        assert torch.equal(llm(ids).logits, before)
        with bridge.llm.disable_adapter():
            without = llm(ids).logits
        assert torch.equal(without, before), "the adapter is part of the answering model"
        quantise_again(llm)
        assert torch.equal(llm(ids).logits, before)


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gpt2"])
def test_a_bridge_with_an_adapter_gives_the_same_answers(
    family: str, bridge_of: Callable[..., BridgedModel], rows_of: Callable[..., list[Row]]
) -> None:
    """In float32 the adapter goes into the weights; prompts are read in parts, and one by one."""
    bridge = bridge_of(family, llm_settings={"quantization": "nf4"})
    llm = adapted(bridge)
    rows = rows_of(bridge) * 2
    ids = torch.arange(12).view(2, 6)
    options: dict[str, Any] = {"max_new_tokens": 20}
    with torch.no_grad():
        logits = llm(ids).logits
        before = bridge.generate(rows, **options)
        dequantise(llm)
        torch.testing.assert_close(llm(ids).logits, logits, rtol=1e-4, atol=1e-4)
        first = four_bit(llm)[0].weight
        assert not torch.equal(dequantised(llm)[0], bitsandbytes.functional.dequantize_4bit(first, first.quant_state)), "merged"
        assert bridge.generate(rows, **options) == before
        assert bridge.generate(rows, batch_tokens=1, **options) == before


def test_memory_that_runs_out_leaves_the_llm_as_it_was(llm_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    llm, _ = llm_of("llama", quantization="nf4")
    real, calls = bitsandbytes.functional.dequantize_4bit, []
    forwards = [vars(module).get("forward") for module in llm.modules()]

    def scarce(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 3:
            raise MemoryError
        return real(*arguments)

    monkeypatch.setattr(bitsandbytes.functional, "dequantize_4bit", scarce)
    with pytest.raises(MemoryError):
        dequantise(llm)
    assert not dequantised(llm)
    assert [vars(module).get("forward") for module in llm.modules()] == forwards


def test_an_llm_without_4_bit_layers_takes_nothing(llm_of: Callable[..., Any]) -> None:
    llm, _ = llm_of("llama")
    assert dequantised_bytes(llm) == 0
    dequantise(llm)
    assert not dequantised(llm)
