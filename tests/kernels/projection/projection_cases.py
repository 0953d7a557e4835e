"""Cases for the alignment projection on the torch path."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lilift_kernels import project_into

WIDTHS = {"e": 6, "h": 11, "d": 5}


class Case:
    """Two ragged rows, packed as ``[text][bos][soft ...][eos][text]`` into a buffer of B * T rows."""

    def __init__(self, lengths: tuple[int, ...] = (3, 4), *, dtype: torch.dtype = torch.float64, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)

        def randn(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        e, h, d = WIDTHS.values()
        longest = max((*lengths, 1))
        self.span = longest + 4
        self.states = randn(len(lengths), longest, e)
        self.parameters = [randn(h, e), randn(h), randn(d, h), randn(d), randn(d), randn(d)]
        self.base = randn(len(lengths) * self.span, d)

        def index(places: list[int]) -> Tensor:
            return torch.tensor(places, dtype=torch.int64)

        self.rows = index([row * longest + i for row, length in enumerate(lengths) for i in range(length)])
        self.bos_slots = index([row * self.span + 1 for row in range(len(lengths))])
        self.slots = index([row * self.span + 2 + i for row, length in enumerate(lengths) for i in range(length)])
        self.eos_slots = index([row * self.span + 2 + length for row, length in enumerate(lengths)])

    def leaves(self) -> list[Tensor]:
        return [tensor.clone().requires_grad_() for tensor in (self.states, *self.parameters, self.base)]

    def ours(self, states: Tensor, *tensors: Tensor) -> Tensor:
        w1, b1, w2, b2, bos, eos, base = tensors
        return project_into(
            states,
            self.rows,
            self.slots,
            w1,
            b1,
            w2,
            b2,
            out=base.clone(),
            bos=bos,
            bos_slots=self.bos_slots,
            eos=eos,
            eos_slots=self.eos_slots,
        )

    def reference(self, states: Tensor, *tensors: Tensor) -> Tensor:
        w1, b1, w2, b2, bos, eos, base = tensors
        soft = functional.linear(functional.gelu(functional.linear(states.flatten(0, 1)[self.rows], w1, b1)), w2, b2)
        out = base.index_copy(0, self.slots, soft.to(base.dtype))
        out = out.index_copy(0, self.bos_slots, bos.to(base.dtype).expand(len(self.bos_slots), -1))
        return out.index_copy(0, self.eos_slots, eos.to(base.dtype).expand(len(self.eos_slots), -1))


def grads(tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.grad for tensor in tensors if tensor.grad is not None]
