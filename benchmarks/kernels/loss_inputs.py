"""The inputs for measuring losses over the vocabulary: shapes, hidden states like a trained model's, and exact gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.kernels.loss_rivals import IGNORED, Loss, ours
from benchmarks.shared.measuring import relative_error
from lilift_kernels import linear_cross_entropy


@dataclass(frozen=True)
class Shape:
    rows: int
    vocabulary: int
    width: int
    valid: float

    def __str__(self) -> str:
        return f"N={self.rows} V={self.vocabulary} D={self.width} valid={self.valid:.0%}"


class Inputs:
    """Hidden states like a trained model's: most rows have no likely token; in some the label, in a few another one is likely.

    The head must come from another seed. A GPU draws the same numbers for the same seed, so that states would be rows of it.
    """

    def __init__(self, shape: Shape, weight: Tensor, seed: int) -> None:
        device, dtype = weight.device, weight.dtype
        generator = torch.Generator(device).manual_seed(seed)
        self.weight = weight
        self.labels = torch.randint(shape.vocabulary, (shape.rows,), generator=generator, device=device)
        confidence = 12 * torch.rand(shape.rows, 1, generator=generator, device=device)
        mistaken = torch.rand(shape.rows, 1, generator=generator, device=device) < 0.05
        others = torch.randint(shape.vocabulary, (shape.rows,), generator=generator, device=device)
        noise = torch.randn(shape.rows, shape.width, generator=generator, device=device)
        towards = torch.where(mistaken, 2 * weight[others].float(), weight[self.labels].float())
        self.hidden = (2 * noise + confidence * towards).to(dtype).requires_grad_()
        valid = torch.rand(shape.rows, generator=generator, device=device) < shape.valid
        valid[0] = True
        self.labels = self.labels.masked_fill(~valid, IGNORED)

    def run(self, loss: Loss) -> Callable[[], Tensor]:
        def gradient() -> Tensor:
            (result,) = torch.autograd.grad(loss(self.hidden, self.weight, self.labels), self.hidden)
            return result

        return gradient

    def with_rows(self) -> Callable[[], Tensor]:
        """lilift's loss as in training: the CPU already knows which positions of the batch carry loss."""
        rows = (self.labels != IGNORED).nonzero().squeeze(1)
        chosen = self.labels[rows]

        def gradient() -> Tensor:
            loss = linear_cross_entropy(self.hidden, self.weight, chosen, rows=rows)
            (result,) = torch.autograd.grad(loss, self.hidden)
            return result

        return gradient

    def repeats(self) -> bool:
        """Whether three runs of lilift's loss are equal to the bit."""
        first, *others = (self.run(ours)() for _ in range(3))
        return all(torch.equal(first, other) for other in others)

    def floor(self) -> Callable[[], Tensor]:
        """Only the two matrix products on the valid rows, in pieces that fit in the memory that the others take."""
        kept = (self.labels != IGNORED).nonzero().squeeze(1)

        def products() -> Tensor:
            result = torch.zeros_like(self.hidden)
            with torch.no_grad():
                for part in kept.split(1024):
                    rows = self.hidden[part]
                    result[part] = (rows @ self.weight.T) @ self.weight
            return result

        return products

    def error(self, gradient: Tensor) -> float:
        """The error of up to 64 valid rows, and of all ignored rows, which must be 0."""
        kept = (self.labels != IGNORED).nonzero().squeeze(1)
        sample = kept[:64]
        exact = self.hidden.detach()[sample].double().requires_grad_()
        columns = self.weight.double() if self.weight.numel() < 2**28 else None
        if columns is None:  # float64 of a large head would take 4 GiB and more
            return relative_error(
                gradient[sample] * len(kept), _exact_by_parts(exact.detach(), self.weight, self.labels[sample])
            )
        functional.cross_entropy(exact @ columns.T, self.labels[sample], reduction="sum").backward()
        assert exact.grad is not None
        return relative_error(gradient[sample] * len(kept), exact.grad)


def _exact_by_parts(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    logits = torch.cat([hidden @ part.double().T for part in weight.split(8192)], 1)
    error = logits.softmax(1)
    error[torch.arange(len(labels), device=labels.device), labels] -= 1
    return sum(
        (e @ w.double() for e, w in zip(error.split(8192, 1), weight.split(8192), strict=True)), torch.zeros_like(hidden)
    )
