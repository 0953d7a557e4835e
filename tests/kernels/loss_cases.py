"""Cases for the loss on the torch path."""

from __future__ import annotations

import torch
from torch import Tensor


def small_case(dtype: torch.dtype, *, n: int = 40, v: int = 301, d: int = 24, seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, d, generator=generator).to(dtype)
    weight = (torch.randn(v, d, generator=generator) / 2).to(dtype)
    bias = torch.randn(v, generator=generator).to(dtype)
    labels = torch.randint(0, v, (n,), generator=generator)
    labels[torch.rand(n, generator=generator) < 0.5] = -100
    return hidden, weight, bias, labels


def leaves(*tensors: Tensor, dtype: torch.dtype | None = None) -> list[Tensor]:
    return [tensor.detach().to(dtype or tensor.dtype).clone().requires_grad_() for tensor in tensors]


def relative(found: Tensor, exact: Tensor) -> float:
    return ((found.double() - exact).norm() / exact.norm()).item()
