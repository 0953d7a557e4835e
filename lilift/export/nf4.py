"""Converts weights to NF4 with double quantisation and back, exactly like bitsandbytes in training, chunk by chunk.

Double quantisation needs the statistics of the whole weight, so the chunks are not independent. The 4-bit codes (an eighth of
the size of float32) stay in memory until all statistics are known. Only then they are converted back, one chunk at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from lilift.model.training_libraries import bitsandbytes

BLOCK = 64  # elements that share a scale
_STATISTICS_BLOCK = 256  # scales that share a scale of their own


def rows_of_whole_blocks(width: int) -> int:
    """The smallest number of rows of `width` elements that is a whole number of blocks."""
    return BLOCK // math.gcd(width, BLOCK)


def through_nf4(chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    """Convert a weight to NF4 and back.

    Args:
        chunks: [rows, in] in the precision of training; together they are the weight, and each except the last has whole
            blocks.

    Yields:
        The same chunks after the conversion, bit for bit equal to the result of `bitsandbytes` for the whole weight.
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
        known = bitsandbytes.functional.QuantState(
            absmax=own.contiguous(), shape=state.shape, code=state.code, blocksize=BLOCK, quant_type="nf4", dtype=state.dtype
        )
        yield bitsandbytes.functional.dequantize_4bit(packed, known)


def _double_quantised(scales: Tensor) -> Tensor:
    """The scales after their own quantisation to 8 bits and back, as `compress_statistics` does it."""
    offset = scales.mean()
    packed, state = bitsandbytes.functional.quantize_blockwise(scales - offset, blocksize=_STATISTICS_BLOCK)
    restored: Tensor = bitsandbytes.functional.dequantize_blockwise(packed, state)
    return (restored + offset).float()
