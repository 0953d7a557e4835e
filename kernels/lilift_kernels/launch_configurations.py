"""Every way in which the Triton kernels are launched: types, options, many rows and few, sizes that fit and that do not.

There are two sets of sizes: those of an 8B model, which every block divides, and sizes that no block divides. Code for other
sizes differs from these only in constants.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from lilift_kernels.loss import loss_triton as loss
from lilift_kernels.loss.loss_options import LossOptions
from lilift_kernels.projection import projection_triton as projection

Element = Literal["bf16", "fp16", "fp32", "tf32"]  # tf32: fp32 that torch may multiply in TF32
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32, "tf32": torch.float32}
TERMS = {"plain": LossOptions(), "capped": LossOptions(softcap=30.0), "smoothed": LossOptions(label_smoothing=0.1)}
MANY, FEW = 4096, 100  # rows: they take large blocks and small ones
BOTH = (False, True)


class Call:
    """A call of one of the two functions' launchers, with tensors of its own."""

    CHOICES: ClassVar[tuple[tuple[Any, ...], ...]]  # of each field

    def __call__(self) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class LossCall(Call):
    """A call of the loss. ``logit_scale``, ``z_loss``, reduction and given rows do not change the code."""

    element: Element = "bf16"
    rows: int = MANY
    ragged: bool = False
    terms: Literal["plain", "capped", "smoothed"] = "plain"
    bias: bool = False
    training: bool = True
    CHOICES = (tuple(TYPES), (MANY, FEW), BOTH, tuple(TERMS), BOTH, BOTH)

    def __call__(self) -> None:
        vocabulary, width = (50_257, 1_001) if self.ragged else (128_256, 4_096)
        hidden, weight = _empty(self.rows, width, like=self.element), _empty(vocabulary, width, like=self.element)
        bias = _empty(vocabulary, like=self.element) if self.bias else None
        labels = torch.empty(self.rows, dtype=torch.int64, device="cuda")
        scale = torch.empty((), device="cuda")
        with _precision(self.element):
            loss.losses_and_gradient(
                hidden, weight, bias, labels, labels, scale, TERMS[self.terms], with_gradient=self.training
            )


@dataclass(frozen=True)
class ProjectionCall(Call):
    """Forward of the projection, and if it is trained backward."""

    element: Element = "bf16"
    rows: int = MANY
    ragged: bool = False
    layers: int = 2
    gathers: bool = True
    bias: bool = True
    training: bool = True
    wide_out: bool = False  # the embedding buffer is fp32
    wide_parameters: bool = True  # the parameters and their gradients are fp32
    CHOICES = (tuple(TYPES), (MANY, FEW), BOTH, (2, 1), *([BOTH] * 5))

    def __call__(self) -> None:
        width, hidden, out = (1_001, 1_503, 1_003) if self.ragged else (2_048, 4_096, 4_096)
        first = hidden if self.layers == 2 else out
        states, index = _empty(self.rows, width, like=self.element), torch.empty(self.rows, dtype=torch.int64, device="cuda")
        w1, b1 = _empty(first, width, like=self.element), _empty(first, like=self.element) if self.bias else None
        w2, b2 = (_empty(out, first, like=self.element), _empty(out, like=self.element)) if self.layers == 2 else (None, None)
        if not self.bias:
            b2 = None
        buffer = _empty(2 * self.rows, out, like="fp32" if self.wide_out else self.element)
        rows = index if self.gathers else None
        gradient_type = torch.float32 if self.wide_parameters else TYPES[self.element]
        with _precision(self.element):
            kept = projection.project(states, rows, index, w1, b1, w2, b2, buffer, saves=self.training)
            if self.training:
                wanted = (False, True, True, True, True)
                projection.project_backward(buffer, index, states, rows, w1, w2, kept, wanted, gradient_type)


AnyCall = TypeVar("AnyCall", bound=Call)


def every(kind: type[AnyCall]) -> list[AnyCall]:
    """All calls of a kind, the usual one first."""
    usual = kind()
    return [usual, *(call for choice in itertools.product(*kind.CHOICES) if (call := kind(*choice)) != usual)]


def _empty(*shape: int, like: str) -> Tensor:
    return torch.empty(shape, dtype=TYPES[like], device="cuda")


@contextmanager
def _precision(element: str) -> Iterator[None]:
    """Inside, torch multiplies fp32 in TF32 for ``tf32``, and exactly otherwise."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if element == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
