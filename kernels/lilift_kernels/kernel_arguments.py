"""How the Triton kernels take their arguments: in groups, as named tuples; and the group that all products share.

Triton passes each member of a named tuple as an argument of its own, and specialises each (divisible by 16, equal to 1, None).
It does not apply ``do_not_specialize`` and ``do_not_specialize_on_alignment`` to members, so arguments that need those stay
outside the groups. A member must not be called ``values`` or ``type``: Triton's own tuple has attributes of these names.
Groups in capitals are ``tl.constexpr``: Triton compiles them into the kernel. The order of the members matters a little: the
number of registers can change with it.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import torch

from lilift_kernels.tiles import Blocks

Pointer: TypeAlias = Any  # a tensor in the launcher; in the kernel the address of its first element


class ProductBlock(NamedTuple):
    """The block of a matrix product that one program computes, and how it multiplies."""

    rows: int
    columns: int
    depth: int  # of one step
    precision: str  # of fp32 operands: "ieee" or "tf32"
    widens: bool  # 16-bit operands to fp32 first

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns. Kernels cannot build this tuple: to them the members are plain numbers, which no tuple may hold."""
        return self.rows, self.columns


def product_block(blocks: Blocks, dtype: torch.dtype, *, on_gpu: bool) -> ProductBlock:
    """The block for operands of type ``dtype``: fp32 is multiplied exactly, unless the user has allowed torch to use TF32."""
    exact = dtype != torch.float32 or torch.get_float32_matmul_precision() == "highest"
    # Triton's interpreter multiplies bf16 wrongly. On a GPU the matrix units widen by themselves.
    return ProductBlock(blocks.rows, blocks.columns, blocks.depth, "ieee" if exact else "tf32", widens=not on_gpu)
