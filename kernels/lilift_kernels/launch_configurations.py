"""Every way in which the loss's Triton kernels are launched: types, options, sizes of real models and odd ones.

There are two sets of sizes: those of an 8B model, and sizes that no power of two divides. Code for other sizes differs from
these only in constants.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from lilift_kernels.loss import loss_triton as loss
from lilift_kernels.loss.loss_options import LossOptions

Element = Literal["bf16", "fp16", "fp32"]
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
TERMS = {"plain": LossOptions(), "capped": LossOptions(softcap=30.0), "smoothed": LossOptions(label_smoothing=0.1)}
ROWS = 4096  # their number decides how wide slices are, but nearly every slice fills the same power of two
BOTH = (False, True)


@dataclass(frozen=True)
class LossCall:
    """A call of the loss's launcher, with tensors of its own. Reduction, ``logit_scale`` and ``z_loss`` share one code."""

    element: Element = "bf16"
    ragged: bool = False
    terms: Literal["plain", "capped", "smoothed"] = "plain"
    bias: bool = False
    training: bool = True
    CHOICES: ClassVar[tuple[tuple[Any, ...], ...]] = (tuple(TYPES), BOTH, tuple(TERMS), BOTH, BOTH)

    def __call__(self) -> None:
        vocabulary, width = (50_257, 1_001) if self.ragged else (128_256, 4_096)
        hidden, weight = _empty(ROWS, width, like=self.element), _empty(vocabulary, width, like=self.element)
        bias = _empty(vocabulary, like=self.element) if self.bias else None
        labels = torch.empty(ROWS, dtype=torch.int64, device="cuda")
        scale = torch.empty((), device="cuda")
        loss.losses_and_gradient(hidden, weight, bias, labels, labels, scale, TERMS[self.terms], with_gradient=self.training)


def every() -> list[LossCall]:
    """All calls, the usual one first."""
    usual = LossCall()
    return [usual, *(call for choice in itertools.product(*LossCall.CHOICES) if (call := LossCall(*choice)) != usual)]


def _empty(*shape: int, like: str) -> Tensor:
    return torch.empty(shape, dtype=TYPES[like], device="cuda")
