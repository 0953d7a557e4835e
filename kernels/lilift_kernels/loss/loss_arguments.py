"""The groups of arguments that the loss's Triton kernels take; buffers hold one chunk of ``capacity`` rows."""

from __future__ import annotations

from typing import NamedTuple

from lilift_kernels.kernel_arguments import Pointer


class LogitInputs(NamedTuple):
    """What logits are computed from: hidden states, the head [V, D], and its bias [V] or None."""

    hidden: Pointer
    weight: Pointer
    bias: Pointer


class GradientInputs(NamedTuple):
    """What the gradient is computed from."""

    product: Pointer  # [capacity, D] exponentials times head, in fp32
    weight: Pointer  # [V, D]
    column_sum: Pointer  # [D] of the head, in fp32; None without label smoothing


class Place(NamedTuple):
    """Where a launch works."""

    chunk_start: int  # among the rows that carry loss
    tile_start: int  # in the vocabulary
    vocabulary: int  # V


class LogitStrides(NamedTuple):
    """Elements between two rows of the matrices of ``exponentials``."""

    partial: int
    hidden: int
    weight: int
    powers: int


class ProductStrides(NamedTuple):
    """Elements between two rows of the matrices of ``accumulate``."""

    factors: int
    weight: int
    powers: int


class Partial(NamedTuple):
    """What each block of a tile's columns contributes to each row, in fp32 [blocks, capacity]."""

    exponents: Pointer  # of the block's largest power of two; ``merge`` turns them into factors
    sums: Pointer
    logit_sums: Pointer  # for label smoothing


class Running(NamedTuple):
    """What the tiles so far add up to for each row, in fp32 [capacity]."""

    maximum: Pointer  # exponent of the largest power of two
    total: Pointer
    shrink: Pointer  # what the last tile multiplied older sums by
    logit_total: Pointer  # for label smoothing


class Totals(NamedTuple):
    """What all tiles add up to for each row, in fp32 [capacity]; the members are those of ``Running``."""

    maximum: Pointer
    total: Pointer
    logit_total: Pointer


class LabelTerms(NamedTuple):
    """Of each row's own label, in fp32 [capacity]: the logit, and under a softcap its slope."""

    logits: Pointer
    slopes: Pointer


class LogitScales(NamedTuple):
    """What a plain logit, and the tanh under a softcap, is multiplied by to come out in units of log 2."""

    inner: float
    outer: float


class LossTerms(NamedTuple):
    """The numbers among ``LossOptions`` that need no kernel of their own."""

    logit_scale: float
    label_smoothing: float
    z_loss: float


class Results(NamedTuple):
    """What the caller gets: losses and log-sum-exps [N] in fp32, and the gradient [N, D]."""

    losses: Pointer
    log_sums: Pointer
    gradient: Pointer


class Switches(NamedTuple):
    """The options that each have a kernel of their own."""

    has_cap: bool
    smooths: bool
    stores: bool  # computes the gradient
    lift: int  # exponentials are stored times 2 ** lift


class MergeSizes(NamedTuple):
    """Blocks of columns in a tile, that number rounded up to a power of two, and rows of a program."""

    blocks: int
    blocks_padded: int
    rows: int


class AccumulateSizes(NamedTuple):
    """Width of the head, columns of a tile, and columns that share one factor."""

    width: int
    tile: int
    factor_columns: int


class FinishSizes(NamedTuple):
    """Width of the head, and the block of the gradient that one program writes."""

    width: int
    rows: int
    columns: int
