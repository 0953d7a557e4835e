"""Drawing tokens, each row from its own random numbers.

torch is imported where it computes: an export's runner reads `Sampling` and has no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn, where they are drawn at all.

    Attributes:
        temperature: divides the logits; above 0.
        top_p: the draw is among the likeliest tokens that have this much probability together (arXiv 1904.09751).
        seed: every row's own random numbers are derived from it.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    seed: int = 0


def draw(logits: Tensor, uniforms: Tensor, sampling: Sampling) -> Tensor:
    """Draw one token a row among the likeliest.

    By inverting the distribution in the order of the vocabulary, with one number a row: a rounding in the logits moves the
    borders between tokens by as much, and never exchanges two of them.

    Args:
        logits: [B, V].
        uniforms: [B] float64 in [0, 1).
        sampling: temperature and top_p.

    Returns:
        [B] token ids.
    """
    import torch

    shares = torch.softmax(logits.double() / sampling.temperature, dim=-1)  # [B, V]
    if sampling.top_p < 1:
        ordered = shares.sort(dim=-1, descending=True).values
        before = ordered.cumsum(-1) - ordered
        least = ordered.masked_fill(before >= sampling.top_p, 1.0).amin(-1, keepdim=True)  # the least likely one that may come
        shares = shares.masked_fill(shares < least, 0.0)
    summed = shares.cumsum(-1)
    # A number that rounding leaves at the very end belongs to the last token that may come.
    target = torch.minimum(uniforms[:, None] * summed[:, -1:], summed[:, -1:].nextafter(torch.zeros_like(summed[:, -1:])))
    return torch.searchsorted(summed, target, right=True).squeeze(1)
