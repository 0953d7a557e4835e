"""The groups of arguments that the loss's Triton kernels take; buffers hold one chunk of R rows and one slice of C columns.

Triton passes each member of a named tuple as an argument of its own, and specialises each (divisible by 16, equal to 1, None).
It does not apply ``do_not_specialize`` and ``do_not_specialize_on_alignment`` to members, so arguments that need those stay
outside the groups. A member must not be called ``values`` or ``type``: Triton's own tuple has attributes of these names.
Groups in capitals are ``tl.constexpr``: Triton compiles them into the kernel.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

Pointer: TypeAlias = Any  # a tensor in the launcher; in the kernel the address of its first element


class Slice(NamedTuple):
    """The logits of a slice, the memory in which their exponentials take their place, and the head's bias [V] or None."""

    logits: Pointer  # [R, C] in fp32
    powers: Pointer  # [R, C] in the operands' type: the first bytes of each row of logits
    bias: Pointer


class LogitScales(NamedTuple):
    """Factors that turn a plain logit, and the tanh under a softcap, into units of log 2."""

    inner: float
    outer: float


class GradientInputs(NamedTuple):
    """What the gradient is computed from."""

    product: Pointer  # [R, D] exponentials times head, in fp32
    weight: Pointer  # [V, D]
    column_sum: Pointer  # [D] of the head, in fp32; None without label smoothing


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

    has_bias: bool
    has_cap: bool
    smooths: bool
    stores: bool  # computes the gradient
    lift: int  # exponentials are stored times 2 ** lift


class SliceSizes(NamedTuple):
    """Sizes that ``exponentials`` is compiled for."""

    columns: int  # of a slice, rounded up to a power of two
    spread: int  # elements between two rows of powers, in units of the slice's columns
    width: int  # of the head
    block: int  # of the running sums that are rescaled at a time


class FinishSizes(NamedTuple):
    """Width of the head, and the block of the gradient that one program writes."""

    width: int
    rows: int
    columns: int
