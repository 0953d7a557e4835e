"""Compile the Triton kernels for any card without a GPU, and read the registers, stack and shared memory that they take.

The real launchers run on tensors without contents. This module records their launches instead of running them, so it compiles
exactly what a GPU would run. ``ptxas`` and ``cuobjdump`` come with triton, so a machine without a GPU is enough.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import triton
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from triton.backends.compiler import GPUTarget
from triton.runtime import JITFunction
from triton.runtime.jit import MockTensor

from lilift_kernels.loss import loss_triton

# Shared memory that a block of threads may have, bytes (CUDA C++ programming guide, technical specifications by capability).
SHARED_MEMORY = {75: 65_536, 80: 166_912, 86: 101_376, 89: 101_376, 90: 232_448, 120: 101_376}
NAMED = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}
ALIGNED, UNALIGNED = 16, 17  # examples of a whole number that is a multiple of 16, and of one that is not


@dataclass(frozen=True)
class Launch:
    """Everything that determines which machine code a launch runs.

    Attributes:
        kernel: its name.
        arguments: by name types of tensors, ``ALIGNED``, ``UNALIGNED`` or 1 for whole numbers, 1.0 for others, or None; a group
            of arguments is a named tuple of these.
        constants: the ``tl.constexpr`` arguments by name.
    """

    kernel: str
    arguments: tuple[tuple[str, Any], ...]
    constants: tuple[tuple[str, Any], ...]
    warps: int
    stages: int

    @property
    def element(self) -> str:
        """The type of the arithmetic: that of the narrowest tensors."""
        types = {NAMED[value] for *_, value in self.members(self.arguments) if value in NAMED}
        return next((name for name in ("bf16", "fp16") if name in types), "fp32")

    @property
    def columns(self) -> int:
        """Columns that one program holds in its registers."""
        return int(dict(self.constants)["SIZES"].columns)

    @property
    def switches(self) -> list[str]:
        """What else, beside sizes, differs between launches of one kernel and element type."""
        odd = ["odd columns"] if dict(self.arguments).get("columns") == UNALIGNED else []
        return [name.lower().removeprefix("has_") for _, name, value in self.members(self.constants) if value is True] + odd

    @property
    def sizes(self) -> list[str]:
        """Sizes that are compiled into the kernel."""
        return [f"{name.lower()}={value}" for _, name, value in self.members(self.constants) if type(value) is int]

    @staticmethod
    def members(arguments: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, str, Any]]:
        """Each argument's name, the names of its members (its own if it is no group), and their values."""
        for name, value in arguments:
            members = value._asdict() if hasattr(value, "_asdict") else {name: value}
            yield from ((name, member, item) for member, item in members.items())

    def __str__(self) -> str:
        return " ".join([self.kernel, self.element, f"warps={self.warps}", *self.sizes, *self.switches])


@dataclass(frozen=True)
class Resources:
    """The resources that the machine code of one launch takes on one card."""

    registers: int
    stack: int  # bytes of local memory, which holds spilled registers
    shared: int  # bytes

    def line(self) -> str:
        return " ".join(map(str, astuple(self)))


def faults(launch: Launch, found: Resources, capability: int) -> list[str]:
    """Faults of a launch: spilled registers, too much shared memory."""
    limit = SHARED_MEMORY[capability]
    wrong = {
        f"spills: {found.stack} bytes of stack": found.stack > 0,
        f"takes {found.shared} bytes of shared memory, of {limit}": found.shared > limit,
    }
    return [f"{launch} on sm_{capability} {fault}" for fault, true in wrong.items() if true]


def launches(call: Callable[[], object]) -> list[Launch]:
    """The launches of a call of the kernels, each once.

    Args:
        call: calls launchers with tensors that it creates on ``cuda``; they have shapes and types, but no contents.
    """
    found: dict[Launch, None] = {}

    def note(self: Any, *args: Any, grid: object, warmup: bool, **options: Any) -> None:  # noqa: ARG001
        found[_launch(self, args, options)] = None

    # The library's products launch nothing of ours, and torch without a GPU cannot run them on tensors without contents.
    products = mock.patch.object(loss_triton, "multiply")
    with mock.patch.object(JITFunction, "run", note), products, FakeTensorMode():
        call()
    return list(found)


def compile_launch(launch: Launch, capability: int) -> Resources:
    """Compile for ``sm_<capability>`` in the same way as a launch there."""
    kernel = getattr(loss_triton, launch.kernel)
    arguments = {name: _each(value, _mock) for name, value in launch.arguments}
    with _driver(capability):
        built = kernel.warmup(
            **arguments, **dict(launch.constants), grid=(1,), num_warps=launch.warps, num_stages=launch.stages
        )
    kernel.device_caches.clear()  # each entry holds its listings, several megabytes
    registers, stack = _usage(built.asm["cubin"])
    return Resources(registers, stack, shared=built.metadata.shared)


def _launch(kernel: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Launch:
    named = {**dict(zip(kernel.arg_names, args, strict=False)), **options}
    warps, stages = named.pop("num_warps", 4), named.pop("num_stages", 3)
    constant = {parameter.name for parameter in kernel.params if parameter.is_constexpr}
    fixed = {parameter.name for parameter in kernel.params if parameter.do_not_specialize}
    arguments = tuple(
        (name, _each(named[name], partial(_kind, fixed=name in fixed))) for name in kernel.arg_names if name not in constant
    )
    constants = tuple((name, named[name]) for name in kernel.arg_names if name in constant)
    return Launch(kernel.fn.__name__, arguments, constants, warps, stages)


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """``change`` of an argument, or of each member of a group."""
    return value._make(map(change, value)) if hasattr(value, "_make") else change(value)


def _mock(kind: Any) -> Any:
    return MockTensor(kind) if isinstance(kind, torch.dtype) else kind


def _kind(value: Any, *, fixed: bool) -> Any:
    if isinstance(value, Tensor):
        return value.dtype
    if isinstance(value, float):
        return 1.0
    if value is None or (value == 1 and not fixed):
        return value
    return ALIGNED if value % 16 == 0 and not fixed else UNALIGNED


@contextmanager
def _driver(capability: int) -> Iterator[None]:
    """Let Triton see a machine with such a card, as far as compiling needs it."""
    card = mock.Mock(spec=["get_current_device", "get_current_stream", "get_current_target"])
    card.get_current_device.return_value = capability
    card.get_current_target.return_value = GPUTarget("cuda", capability, 32)
    with mock.patch.object(triton.runtime.driver, "_active", card):
        yield


def _usage(cubin: bytes) -> tuple[int, int]:
    """Registers and bytes of stack of each thread."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(cubin)
        usage = subprocess.run([tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    if found is None:
        raise RuntimeError(f"cuobjdump reported no resources: {usage.strip()!r}")
    return int(found[1]), int(found[2])
