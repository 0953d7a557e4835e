"""Draw tokens, for each row from its own random numbers.

Only `draw` imports torch, because an export's runner uses `Sampling` without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How lilift draws tokens, if it does not take the likeliest.

    Attributes:
        temperature: divides the logits; above 0.
        top_p: lilift draws among the likeliest tokens that together have this probability (arXiv 1904.09751).
        seed: gives, with a row's own seed, the random numbers of the row.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    seed: int = 0


def draw(logits: Tensor, uniforms: Tensor, sampling: Sampling) -> Tensor:
    """Draw one token for each row among the likeliest.

    `draw` inverts the distribution in the order of the vocabulary, with one number for each row. So a rounding in the logits
    moves the borders between tokens by as little, and never exchanges two tokens.

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
        least = ordered.masked_fill(before >= sampling.top_p, 1.0).amin(-1, keepdim=True)  # the least likely token in the draw
        shares = shares.masked_fill(shares < least, 0.0)
    summed = shares.cumsum(-1)
    # If rounding leaves a number at the very end, it belongs to the last token in the draw.
    target = torch.minimum(uniforms[:, None] * summed[:, -1:], summed[:, -1:].nextafter(torch.zeros_like(summed[:, -1:])))
    return torch.searchsorted(summed, target, right=True).squeeze(1)
