"""A block of the Perceiver resampler (arXiv 2204.14198), in which learned latents gather the content of a text."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

ATTENTION_HEADS = 8
HEAD_WIDTH = 64


class ResamplerBlock(nn.Module):
    """Latents attend to the states and to one another, then pass a feed-forward layer. Both normalise their input first."""

    def __init__(self, size: int) -> None:
        super().__init__()
        width = ATTENTION_HEADS * HEAD_WIDTH
        self.norm_states, self.norm_latents = nn.LayerNorm(size), nn.LayerNorm(size)
        self.query = nn.Linear(size, width, bias=False)
        self.key_value = nn.Linear(size, 2 * width, bias=False)
        self.attended = nn.Linear(width, size, bias=False)
        self.feed_forward = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size))

    def forward(self, latents: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """latents [B, L, E], states [B, S, E], mask [B, S] to latents [B, L, E]."""
        normed = self.norm_latents(latents)
        seen = torch.cat([self.norm_states(states), normed], dim=1)  # [B, S + L, E]
        visible = torch.cat([mask, mask.new_ones(latents.shape[:2])], dim=1)  # [B, S + L]
        keys, values = (_heads(part) for part in self.key_value(seen).chunk(2, dim=-1))
        mixed = functional.scaled_dot_product_attention(
            _heads(self.query(normed)), keys, values, attn_mask=visible[:, None, None, :]
        )  # [B, heads, L, width]
        latents = latents + self.attended(mixed.transpose(1, 2).flatten(2))
        changed: Tensor = latents + self.feed_forward(latents)
        return changed


def _heads(vectors: Tensor) -> Tensor:
    """[B, N, heads * width] to [B, heads, N, width]."""
    return vectors.reshape(*vectors.shape[:2], ATTENTION_HEADS, HEAD_WIDTH).transpose(1, 2)
