"""Attention of one new token a row on a CPU, as two products of matrices.

torch's own attention splits its work for long queries. For one token a row on a CPU, it takes up to twice as long as the
products themselves. lilift replaces it only there, and only for LLMs that use torch's own attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "lilift_step"


@contextmanager
def step_attention(llm: PreTrainedModel) -> Iterator[None]:
    """Let an LLM on a CPU use this attention inside the block."""
    config: Any = llm.config.get_text_config()
    if config._attn_implementation != "sdpa" or llm.device.type != "cpu":
        yield
        return
    config._attn_implementation_internal = NAME
    try:
        yield
    finally:
        config._attn_implementation_internal = "sdpa"


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """The interface of transformers: query [B, H, Q, D], key and value [B, G, W, D], result [B, Q, H, D]."""
    rows, heads, queries, size = query.shape
    groups, columns = key.shape[1:3]
    plain = attention_mask is None or (attention_mask.dtype == torch.bool and attention_mask.shape[1] == 1)
    if queries != 1 or not plain or others.get("softcap") is not None or others.get("position_bias") is not None:
        found: Tensor = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **others)[0]
        return found, None
    packed = query.reshape(rows * groups, heads // groups, size) * (size**-0.5 if scaling is None else scaling)
    scores = torch.bmm(packed, key.reshape(rows * groups, columns, size).transpose(1, 2))  # [B * G, H / G, W]
    if attention_mask is not None:
        scores = scores.view(rows, heads, columns)
        scores.masked_fill_(~attention_mask[:, 0], torch.finfo(scores.dtype).min)
        scores = scores.view(rows * groups, heads // groups, columns)
    found = torch.bmm(torch.softmax(scores, dim=-1), value.reshape(rows * groups, columns, value.shape[-1]))
    return found.view(rows, 1, heads, value.shape[-1]), None


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
