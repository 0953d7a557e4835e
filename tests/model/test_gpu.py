"""A bridge around a 4-bit LLM, with the loss and the projection in Triton where there is a GPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from bitsandbytes.nn import Linear4bit

from lilift.data.texts.examples import Row
from lilift.model.assemble_bridge import attach_lora, load_bridge
from lilift.model.bridge import BridgedModel
from lilift.recipe.schema import LoraSettings, Recipe
from lilift_kernels import TritonFallbackWarning

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")]),
]


@pytest.mark.parametrize("family", ["llama", "gemma2"])
@pytest.mark.parametrize("device", DEVICES)
def test_a_4_bit_bridge_learns_alike_with_either_kernel(
    device: str,
    family: str,
    recipe_of: Callable[..., Recipe],
    rows_of: Callable[[BridgedModel], list[Row]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = recipe_of(
        family, llm_settings={"quantization": "nf4", "dtype": "bfloat16"}, encoder_settings={"dtype": "bfloat16"}
    )
    bridge = load_bridge(recipe, device=device)
    four_bit = [module for module in bridge.causal_lm.modules() if isinstance(module, Linear4bit)]
    assert four_bit
    assert all(module.weight.device.type == device and module.weight.dtype == torch.uint8 for module in four_bit)
    batch = bridge.collate(rows_of(bridge)).to(device)

    def learn(kernels: str) -> tuple[torch.Tensor, list[torch.Tensor]]:
        monkeypatch.setenv("LILIFT_KERNELS", kernels)
        learning = [parameter for parameter in bridge.parameters() if parameter.requires_grad]
        with warnings.catch_warnings():
            warnings.simplefilter("error", TritonFallbackWarning)
            loss = bridge.loss(batch)
            return loss.detach(), list(torch.autograd.grad(loss, learning))

    for stage in ("align", "transfer"):
        if stage == "transfer":
            attach_lora(bridge, LoraSettings(rank=2))
            bridge.train_only("adapter")
        else:
            bridge.train_only("alignment")
        bridge.train()
        best, plain = learn("auto"), learn("torch")
        torch.testing.assert_close(best[0], plain[0], rtol=1e-2, atol=1e-3)
        assert best[0] > 0
        for ours, theirs in zip(best[1], plain[1], strict=True):
            assert (ours - theirs).norm() <= 0.05 * theirs.norm() + 1e-6
    monkeypatch.setenv("LILIFT_KERNELS", "auto")
    with torch.no_grad():
        assert bridge.loss(batch).isfinite()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("quantization", ["nf4", "none"])
@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3"])
def test_ligers_kernels_learn_like_torchs_operators(
    family: str, quantization: str, recipe_of: Callable[..., Recipe], rows_of: Callable[[BridgedModel], list[Row]]
) -> None:
    pytest.importorskip("liger_kernel")
    found = []
    # The exact results are those of float32; bfloat16 rounds them alike with either kernels.
    for kernels, dtype in (("torch", "float32"), ("torch", "bfloat16"), ("liger", "bfloat16")):
        llm_settings = {"quantization": quantization, "dtype": dtype, "kernels": kernels}
        bridge = load_bridge(recipe_of(family, llm_settings=llm_settings), device="cuda")
        attach_lora(bridge, LoraSettings(rank=2))
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, weight in bridge.llm.named_parameters():
                if "lora_B" in name:
                    weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))
        batch = bridge.collate(rows_of(bridge)).to("cuda")
        gradients: list[torch.Tensor] = []
        for part in ("alignment", "adapter"):
            bridge.train_only(part)
            bridge.train()
            learning = [parameter for parameter in bridge.parameters() if parameter.requires_grad]
            loss = bridge.loss(batch)
            gradients += torch.autograd.grad(loss, learning)
        found.append((float(loss), torch.cat([gradient.flatten().float() for gradient in gradients])))
    (_, exact), (plain_loss, plain), (loss, ours) = found
    assert loss == pytest.approx(plain_loss, rel=2e-2)
    assert (ours - exact).norm() <= 1.5 * (plain - exact).norm() + 0.01 * exact.norm()
