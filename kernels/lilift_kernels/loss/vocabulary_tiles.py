"""The parts that both sweeps over the vocabulary in plain torch share: chunks, tiles, targets, and the logits of one tile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lilift_kernels.loss.loss_options import LossOptions

# Bytes that a chunk of rows and a tile of the head may take together, and the rows of a chunk. On a CPU the tile fits into the
# outer caches. On a GPU the fallback prefers large products.
CPU_TILE_BYTES, CPU_ROWS = 12 * 2**20, 512
GPU_TILE_BYTES, GPU_ROWS = 64 * 2**20, 1024
SMALLEST_TILE = 256


@dataclass(frozen=True)
class Chunking:
    """The cut of the work: ``rows`` rows times ``columns`` columns of the vocabulary at a time."""

    rows: int
    columns: int

    def tiles(self, vocabulary: int) -> Iterator[slice]:
        for start in range(0, vocabulary, self.columns):
            yield slice(start, min(start + self.columns, vocabulary))

    def chunks(self, rows: int) -> Iterator[slice]:
        for start in range(0, rows, self.rows):
            yield slice(start, min(start + self.rows, rows))


def chunking(rows: int, vocabulary: int, width: int, *, on_gpu: bool) -> Chunking:
    """Rows per chunk and columns per tile, so that a tile of logits and a tile of the head stay within the budget."""
    budget, most_rows = (GPU_TILE_BYTES, GPU_ROWS) if on_gpu else (CPU_TILE_BYTES, CPU_ROWS)
    chunk_rows = max(1, min(rows, most_rows))
    columns = budget // (4 * (chunk_rows + width))
    columns = max(SMALLEST_TILE, columns - columns % SMALLEST_TILE)
    return Chunking(chunk_rows, max(1, min(columns, vocabulary)))


def accumulation_type(dtype: torch.dtype) -> torch.dtype:
    """The type of sums: fp32, or fp64 for fp64."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def product_type(hidden: Tensor) -> torch.dtype:
    """The type of the operands of matrix products.

    A GPU multiplies 16-bit numbers and sums in fp32. On other devices torch rounds the result of a 16-bit product, so the
    operands are widened first, one tile at a time.
    """
    return hidden.dtype if hidden.is_cuda else accumulation_type(hidden.dtype)


def compact(labels: Tensor, rows: Tensor | None, ignore_index: int) -> tuple[Tensor, Tensor]:
    """The positions [K] in ``labels`` that carry loss, and the rows [K] of ``hidden`` that they read.

    A caller that gives ``rows`` has already left out ignored positions, so all are taken and nothing depends on the data.
    """
    if rows is not None:
        return torch.arange(labels.shape[0], device=labels.device), rows
    kept = (labels != ignore_index).nonzero().squeeze(1)
    return kept, kept


@dataclass(frozen=True)
class Targets:
    """Labels of R rows, and which of them are ignored or out of range."""

    labels: Tensor  # [R] all within the vocabulary; 0 for the others
    ignored: Tensor  # [R] bool
    outside: Tensor  # [R] bool

    def mask_(self, values: Tensor, *, poison: bool = False) -> Tensor:
        """``values`` [R] or [R, D], in place, with 0 where ignored and, if ``poison``, NaN where the label is out of range."""
        shape = (-1,) + (1,) * (values.dim() - 1)
        values.masked_fill_(self.ignored.view(shape), 0.0)
        return values.masked_fill_(self.outside.view(shape), float("nan")) if poison else values


def targets_of(labels: Tensor, vocabulary: int, ignore_index: int) -> Targets:
    ignored = labels == ignore_index
    outside = ((labels < 0) | (labels >= vocabulary)) & ~ignored
    return Targets(labels.masked_fill(ignored | outside, 0), ignored, outside)


def tile_logits(states: Tensor, columns: Tensor, bias: Tensor | None, options: LossOptions) -> Tensor:
    """Scaled and capped logits [R, C] in the accumulation type."""
    logits = product(states, columns.t(), accumulation_type(states.dtype))
    if bias is not None:
        logits += bias
    if options.logit_scale != 1.0:
        logits *= options.logit_scale
    if options.softcap is not None:
        logits.div_(options.softcap).tanh_().mul_(options.softcap)
    return logits


def softcap_slope(logits: Tensor, options: LossOptions) -> Tensor | None:
    """d(capped logit) / d(plain logit), computed from the capped logits; None without a cap."""
    if options.softcap is None:
        return None
    return 1 - (logits / options.softcap).square_()


def product(left: Tensor, right: Tensor, accumulate: torch.dtype) -> Tensor:
    if left.dtype == accumulate:
        return torch.mm(left, right)
    return torch.mm(left, right, out_dtype=accumulate)


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += torch.mm(left, right, out_dtype=total.dtype)


def bias_of(bias: Tensor | None, tile: slice) -> Tensor | None:
    return None if bias is None else bias[tile]
