"""Compile the Triton kernels for cards that are not here, and read what they take: registers, spills, shared memory.

``ptxas`` and ``cuobjdump`` come with triton, so this runs on a machine without a GPU.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from lilift_kernels import alignment_projection_triton as projection
from lilift_kernels import linear_cross_entropy_triton as loss
from lilift_kernels.tiles import Blocks, loss_plan, product_blocks

# Shared memory that a block of threads may have, bytes (CUDA C++ programming guide, technical specifications by capability).
SHARED_MEMORY = {80: 166_912, 86: 101_376, 89: 101_376, 90: 232_448, 120: 101_376}
ASYNCHRONOUS_COPIES = ("LDGSTS", "UTMALDG", "UBLKCP")
MATRIX_INSTRUCTIONS = ("HMMA", "HGMMA", "UTCHMMA")
# Multiprocessors of the card a capability is best known for: A100, RTX 3090, RTX 4090, H100, RTX 5090.
PROCESSORS = {80: 108, 86: 82, 89: 128, 90: 132, 120: 170}
DEFAULT_LAUNCH = Blocks(0, 0, 0, warps=4, stages=3)  # Triton's own, for kernels that multiply nothing

# What the kernels' arguments are, by name; the rest are 32-bit integers.
FLOATS = {"inner_scale", "outer_scale", "logit_scale", "label_smoothing", "z_loss"}
ELEMENTS = {
    "hidden", "weight", "bias", "powers", "gradient",
    "inputs", "out", "kept", "upstream", "result", "activation", "left", "right",
}  # fmt: skip
INDICES = {"count", "sources", "positions", "labels", "rows", "slots", "left_rows", "right_rows"}
SUMS = {
    "exponents", "sums", "logit_sums", "label_logits", "label_slopes", "factors", "shrink", "product",
    "maximum", "total", "logit_total", "losses", "log_sums", "scale", "column_sum",
}  # fmt: skip
UNALIGNED = {
    "sources", "positions", "labels", "count", "scale", "row_blocks", "vocabulary", "ignore_index", "number",
    "rows", "slots", "left_rows", "right_rows",
}  # fmt: skip


@dataclass(frozen=True)
class Resources:
    """What one compiled kernel takes on one card."""

    kernel: str
    capability: int
    registers: int
    stack: int
    spills: int  # local-memory loads and stores
    shared: int
    copies: int  # asynchronous copies into shared memory
    products: int  # matrix instructions

    @property
    def fits(self) -> bool:
        return self.stack == 0 and self.spills == 0 and self.shared <= SHARED_MEMORY[self.capability]


def compiled(
    kernel: Any, types: Mapping[str, str], constants: Mapping[str, Any], blocks: Blocks, capability: int, *, aligned: set[str]
) -> Resources:
    """Compile one kernel for ``sm_<capability>``.

    Args:
        types: Triton's type of every argument that is no constant. constants: the ``tl.constexpr`` arguments.
        aligned: the arguments known to be multiples of 16, as the launcher finds them.
    """
    names = kernel.arg_names
    source = ASTSource(
        kernel,
        signature={name: "constexpr" if name in constants else types[name] for name in names},
        constexprs=dict(constants),
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    target = GPUTarget("cuda", capability, 32)
    built = triton.compile(source, target=target, options={"num_warps": blocks.warps, "num_stages": blocks.stages})
    usage, listing = _inspect(built.asm["cubin"])
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    if found is None:
        raise RuntimeError(f"cuobjdump reported no resources for {kernel.fn.__name__}: {usage.strip()!r}")
    opcodes = re.findall(r"^\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z0-9]+)", listing, flags=re.MULTILINE)
    return Resources(
        kernel.fn.__name__,
        capability,
        registers=int(found[1]),
        stack=int(found[2]),
        spills=sum(opcode in ("LDL", "STL") for opcode in opcodes),
        shared=built.metadata.shared,
        copies=sum(opcode in ASYNCHRONOUS_COPIES for opcode in opcodes),
        products=sum(opcode in MATRIX_INSTRUCTIONS for opcode in opcodes),
    )


def loss_resources(
    capability: int,
    *,
    element: str = "bf16",
    rows: int = 4096,
    vocabulary: int = 128_256,
    width: int = 4096,
    capped: bool = False,
    smooths: bool = False,
) -> list[Resources]:
    """The kernels of the loss, as the table cuts them for this card and shape; ``capped`` has a softcap and a bias."""
    size = 4 if element == "fp32" else 2
    plan = loss_plan(_pair(capability), PROCESSORS[capability], rows, vocabulary, width, size, with_gradient=True)
    logits, gradient = plan.logits, plan.gradient
    blocks = plan.tile_columns // logits.columns
    switches = {"HAS_CAP": capped, "SMOOTHS": smooths, "STORES": True, "LIFT": loss.FP16_LIFT if element == "fp16" else 0}
    merging = {"BLOCKS": blocks, "BLOCKS_PADDED": triton.next_power_of_2(blocks), "ROWS": loss.MERGE_ROWS}
    finishing: dict[str, Any] = {"ROWS": loss.FINISH_ROWS, "COLUMNS": loss.FINISH_COLUMNS}
    if not smooths:
        finishing["column_sum"] = None
    biased: dict[str, Any] = {"HAS_BIAS": capped} if capped else {"HAS_BIAS": False, "bias": None}
    tile = {"TILE": plan.tile_columns, "FACTOR_COLUMNS": logits.columns}
    kernels: list[tuple[Any, Blocks, dict[str, Any]]] = [
        (loss.exponentials, logits, {"WIDTH": width, **switches, **biased, **product_constants(logits)}),
        (loss.merge, DEFAULT_LAUNCH, {**merging, "SMOOTHS": smooths}),
        (loss.accumulate, gradient, {"WIDTH": width, **tile, **product_constants(gradient)}),
        (loss.finish, DEFAULT_LAUNCH, {"WIDTH": width, **switches, **finishing}),
    ]
    return [resources(kernel, constants, element, blocks, capability) for kernel, blocks, constants in kernels]


def projection_resources(
    capability: int, *, element: str = "bf16", rows: int = 2048, width: int = 2048, hidden: int = 4096, out: int = 4096
) -> list[Resources]:
    """The kernels of the alignment projection, as the table cuts them for this card."""
    blocks = product_blocks(_pair(capability), rows, 4 if element == "fp32" else 2)
    shared = {**product_constants(blocks), "GROUP": projection.GROUP}
    first = {"WIDTH": width, "COLUMNS": hidden, "HAS_ROWS": True, "HAS_SLOTS": False, "slots": None}
    second = {"WIDTH": hidden, "COLUMNS": out, "HAS_ROWS": False, "HAS_SLOTS": True, "rows": None, "kept": None}
    third = {"ROWS": hidden, "COLUMNS": width, "HAS_LEFT": False, "HAS_RIGHT": True, "left_rows": None}
    kernels: list[tuple[Any, Blocks, dict[str, Any]]] = [
        (projection.linear, blocks, {**first, "HAS_BIAS": True, "GELU": True, "KEEPS": True}),
        (projection.linear, blocks, {**second, "HAS_BIAS": True, "GELU": False, "KEEPS": False}),
        (projection.hidden_gradient, blocks, {"WIDTH": out, "COLUMNS": hidden}),
        (projection.outer, projection.deepened(blocks), third),
    ]
    return [resources(kernel, {**constants, **shared}, element, shape, capability) for kernel, shape, constants in kernels]


def resources(kernel: Any, constants: dict[str, Any], element: str, blocks: Blocks, capability: int) -> Resources:
    """Compile with the types and alignments that the launcher finds on a GPU."""
    arguments = [name for name in kernel.arg_names if name not in constants]
    types = {name: _argument_type(name, element) for name in arguments}
    aligned = {name for name in arguments if name not in UNALIGNED and types[name] != "fp32"}
    return compiled(kernel, types, constants, blocks, capability, aligned=aligned)


def _argument_type(name: str, element: str) -> str:
    if name in FLOATS:
        return "fp32"
    if name in INDICES:
        return "*i64"
    if name in SUMS:
        return "*fp32"
    return f"*{element}" if name in ELEMENTS else "i32"


def _pair(capability: int) -> tuple[int, int]:
    return capability // 10, capability % 10


def product_constants(blocks: Blocks) -> dict[str, Any]:
    return {
        "BLOCK_ROWS": blocks.rows,
        "BLOCK_COLUMNS": blocks.columns,
        "BLOCK_DEPTH": blocks.depth,
        "PRECISION": "ieee",
        "WIDENS": False,
    }


def _inspect(cubin: bytes) -> tuple[str, str]:
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)

        def dump(option: str) -> str:
            return subprocess.run([tool, option, path], capture_output=True, text=True, check=True).stdout

        return dump("--dump-resource-usage"), dump("-sass")
