"""Weights after NF4 with double quantisation and back, as bitsandbytes holds them in training, chunk by chunk.

Double quantisation looks at the statistics of the whole weight, so that a weight cannot simply be cut up: its 4-bit codes (an
eighth of float32) are kept until all statistics are known, and only then turned back, one chunk at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import bitsandbytes.functional
import torch
from bitsandbytes.functional import QuantState
from torch import Tensor

BLOCK = 64  # elements that share a scale
_STATISTICS_BLOCK = 256  # scales that share a scale of their own


def rows_of_whole_blocks(width: int) -> int:
    """The least number of rows of `width` elements that ends where a block ends."""
    return BLOCK // math.gcd(width, BLOCK)


def through_nf4(chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    """A weight after one trip through NF4.

    Args:
        chunks: [rows, in] in the precision of training; together the weight, each but the last of whole blocks.

    Yields:
        The same chunks, bit for bit what `bitsandbytes` gives for the whole weight.
    """
    codes, states = [], []
    for chunk in chunks:
        packed, state = bitsandbytes.functional.quantize_4bit(chunk.contiguous(), quant_type="nf4", compress_statistics=False)
        codes.append(packed)
        states.append(state)
    if not codes:
        return
    scales = torch.split(
        _double_quantised(torch.cat([state.absmax for state in states])), [len(state.absmax) for state in states]
    )
    for packed, state, own in zip(codes, states, scales, strict=True):
        known = QuantState(
            absmax=own.contiguous(), shape=state.shape, code=state.code, blocksize=BLOCK, quant_type="nf4", dtype=state.dtype
        )
        yield bitsandbytes.functional.dequantize_4bit(packed, known)


def _double_quantised(scales: Tensor) -> Tensor:
    """Scales after their own quantisation to 8 bits and back, as `compress_statistics` does it."""
    offset = scales.mean()
    packed, state = bitsandbytes.functional.quantize_blockwise(scales - offset, blocksize=_STATISTICS_BLOCK)
    restored: Tensor = bitsandbytes.functional.dequantize_blockwise(packed, state)
    return (restored + offset).float()
