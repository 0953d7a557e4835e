"""Weights in 4 bits: how they are quantised, and that gradients pass them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bitsandbytes
import torch
from torch import nn


def test_nf4_with_double_quantisation(llm_of: Callable[..., tuple[Any, Any]]) -> None:
    llm, _ = llm_of("llama", quantization="nf4", dtype="bfloat16")
    layers = [module for module in llm.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)]
    assert len(layers) == 14, "all linear layers of two blocks"
    for layer in layers:
        assert layer.weight.dtype == torch.uint8
        assert layer.weight.quant_state.quant_type == "nf4"
        assert layer.weight.quant_state.nested
        assert layer.compute_dtype == torch.bfloat16
    assert type(llm.get_output_embeddings()) is nn.Linear
    assert not any(parameter.requires_grad for parameter in llm.parameters())


def test_gradients_reach_the_input_after_an_evaluation(llm_of: Callable[..., tuple[Any, Any]]) -> None:
    """bitsandbytes repacks weights at an evaluation on some CPUs; the gradient then vanishes without a word."""
    llm, _ = llm_of("llama", quantization="nf4")
    inputs = torch.randn(1, 3, 32)
    llm.eval()
    with torch.no_grad():
        before = llm(inputs_embeds=inputs).logits
    assert not any(
        module.support_avx512bf16_for_cpu for module in llm.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)
    ), "also on a CPU that cannot show the trap"
    for mode in (True, False):
        llm.train(mode)
        learning = inputs.clone().requires_grad_()
        logits = llm(inputs_embeds=learning, use_cache=False).logits
        torch.testing.assert_close(logits.detach(), before)
        logits.square().sum().backward()
        assert learning.grad is not None
        assert learning.grad.abs().max() > 0
