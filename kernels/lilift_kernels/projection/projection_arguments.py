"""The groups of arguments that the projection's Triton kernels take."""

from __future__ import annotations

from typing import NamedTuple


class LinearStrides(NamedTuple):
    """Elements between two rows of what ``linear`` reads, and of what it writes."""

    inputs: int
    out: int


class OuterStrides(NamedTuple):
    """Elements between two rows of the two factors of ``outer``."""

    left: int
    right: int


class ProductSizes(NamedTuple):
    """Width of the rows that are multiplied, and columns of the result."""

    width: int
    columns: int


class OuterSizes(NamedTuple):
    """Rows and columns of a weight's gradient."""

    rows: int
    columns: int


class LinearSwitches(NamedTuple):
    """Which arguments of ``linear`` are given, and whether its result goes through a GELU."""

    has_rows: bool
    has_slots: bool
    has_bias: bool
    gelu: bool
    keeps: bool


class OuterSwitches(NamedTuple):
    """Which factors of ``outer`` are given with row numbers."""

    has_left: bool
    has_right: bool
