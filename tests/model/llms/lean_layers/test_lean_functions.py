"""The functions of autograd beneath the lean layers, against numerical gradients in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck
from transformers.activations import ACT2FN
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.t5.modeling_t5 import T5LayerNorm

from lilift.model.llms.lean_layers import gated_mlp, rms_norm
from lilift.model.llms.lean_layers.elementwise_kernels import choose_kernels, gating_of
from lilift.model.llms.lean_layers.frozen_linear import Projection, _AdaptedLinear
from lilift.model.llms.lean_layers.gated_mlp import GatedMLP
from lilift.recipe.errors import EnvironmentUnfit


def random(*shape: int, trained: bool = True) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64).requires_grad_(trained)


def projection(inputs: int, outputs: int, *, has_adapter: bool = True) -> Projection:
    base = nn.Linear(inputs, outputs, dtype=torch.float64).requires_grad_(False)
    return Projection(base, random(2, inputs), random(outputs, 2), 0.7) if has_adapter else Projection(base)


@pytest.mark.parametrize("drops", [False, True])
def test_an_adapted_layer_has_the_right_gradients(drops: bool) -> None:
    torch.manual_seed(0)
    layer = projection(4, 3)
    noise = torch.tensor([0.0, 2.0, 2.0, 0.0], dtype=torch.float64).expand(2, 5, 4) if drops else None
    assert gradcheck(lambda *parts: _AdaptedLinear.apply(*parts, layer, noise), (random(2, 5, 4), layer.a, layer.b))


@pytest.mark.parametrize("has_adapter", [True, False])
@pytest.mark.parametrize(("fused", "act"), [(False, "silu"), (False, "gelu_pytorch_tanh"), (True, "silu")])
def test_a_tiled_mlp_has_the_right_gradients(fused: bool, act: str, has_adapter: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(gated_mlp, "TILE", 2)
    sizes = [10] if fused else [5, 5]
    inner = tuple(projection(4, size, has_adapter=has_adapter) for size in sizes)
    mlp = GatedMLP(inner, projection(5, 4, has_adapter=has_adapter), ACT2FN[act], "torch")
    assert len(list(mlp.tiles(5))) == 3

    def compute(inputs: Tensor, *matrices: Tensor) -> Any:
        return gated_mlp._Forward.apply(gated_mlp._Backward.apply(inputs, mlp, *(matrices or mlp.adapters)), mlp)

    # The numerical gradient changes matrices in place, which both functions see.
    matrices = tuple(matrix for matrix in mlp.adapters if matrix is not None)
    assert gradcheck(compute, (random(5, 4), *matrices))
    # Without a gradient of the inputs, the adapter still learns.
    if has_adapter:
        assert gradcheck(compute, (random(5, 4, trained=False), *matrices))


def test_gating_that_keeps_its_inputs_has_the_right_gradients() -> None:
    torch.manual_seed(0)
    assert gradcheck(lambda gate, up: gated_mlp._Gating.apply(gate, up, ACT2FN["silu"], "torch"), (random(3, 4), random(3, 4)))


@pytest.mark.parametrize("convention", ["llama", "gemma"])
def test_a_norm_has_the_right_gradient(convention: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(rms_norm, "CHUNK", 8)
    weight = random(4, trained=False)
    assert gradcheck(lambda inputs: rms_norm._RMSNorm.apply(inputs, weight, 1e-6, convention), (random(2, 3, 4),))


def test_the_convention_of_a_norm_is_found_by_a_trial() -> None:
    assert rms_norm.convention_of(LlamaRMSNorm) == "llama"
    assert rms_norm.convention_of(Gemma2RMSNorm) == "gemma"
    assert rms_norm.convention_of(T5LayerNorm) is None
    assert rms_norm.convention_of(nn.LayerNorm) is None


def test_activations_are_told_by_their_values() -> None:
    assert gating_of(ACT2FN["silu"]) == "silu"
    assert gating_of(ACT2FN["gelu_pytorch_tanh"]) == "gelu_tanh"
    assert gating_of(ACT2FN["gelu"]) is None
    assert gating_of(ACT2FN["relu"]) is None


def test_a_cpu_has_no_liger_kernels() -> None:
    device = torch.device("cpu")
    assert choose_kernels("auto", device) == choose_kernels("torch", device) == "torch"
    with pytest.raises(EnvironmentUnfit, match=r"llm\.kernels is liger, and Liger does not work here"):
        choose_kernels("liger", device)
