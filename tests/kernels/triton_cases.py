"""Cases for the Triton kernels on a GPU, or in Triton's interpreter, and what is done there to tell right from wrong.

The interpreter is slow, about 20 ms for each program, so shapes are as small as cross every boundary. It rounds bf16 towards
zero, which doubles the error of what is stored in it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lilift_kernels import project_into

pytest.importorskip("triton", reason="triton is not installed")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
NEEDS_A_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not INTERPRETED and not torch.cuda.is_available(), reason="no GPU, and not in the interpreter"),
    pytest.mark.usefixtures("insist_on_triton"),
]

on_a_gpu = pytest.mark.skipif(INTERPRETED, reason="the interpreter runs one program after the other, in the host's own time")

if INTERPRETED:
    # With numpy 2.4 the interpreter cannot turn a scalar argument into a loop's bound (triton-lang/triton issue 9171).
    from triton.runtime import interpreter

    _patch = interpreter._patch_lang_tensor

    def _patch_with_index(tensor: Any, scope: Any) -> None:
        _patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    interpreter._patch_lang_tensor = _patch_with_index
    # It copies whole storages to the host and back, also those that are there; one of these tests has gigabytes of holes.
    interpreter.GridExecutor._init_args_hst = lambda _, arguments, named: (arguments, named)
    interpreter.GridExecutor._restore_args_dev = lambda *_: None

# Relative L2 that our error may exceed that of torch in the same type by.
TOLERANCE = {torch.float32: 1e-6, torch.float16: 1e-4, torch.bfloat16: 3e-3 if INTERPRETED else 3e-4}


def case(dtype: torch.dtype, *, n: int = 75, v: int = 301, d: int = 40, seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, d, generator=generator).to(dtype)
    weight = (torch.randn(v, d, generator=generator) / 2).to(dtype)
    bias = torch.randn(v, generator=generator).to(dtype)
    labels = torch.randint(0, v, (n,), generator=generator)
    labels[::6] = -100
    return tuple(tensor.to(DEVICE) for tensor in (hidden, weight, bias, labels))


def leaf(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    return tensor.detach().to(dtype or tensor.dtype).clone().requires_grad_()


def relative(found: Tensor, exact: Tensor) -> float:
    return ((found.double() - exact).norm() / exact.norm()).item()


def rows_far_apart(rows: int, width: int, folder: Path) -> Tensor:
    """Rows of fp16 whose last ones lie more than 2 ** 31 elements after the first; on a CPU in a file with holes."""
    stride = 2**27 + 16
    size = (rows - 1) * stride + width
    if INTERPRETED:
        storage = torch.from_file(str(folder / "holes"), shared=True, size=size, dtype=torch.float16)
    else:
        if torch.cuda.mem_get_info()[0] < 3 * size:
            pytest.skip("the GPU has too little free memory")
        storage = torch.empty(size, dtype=torch.float16, device=DEVICE)
    return storage.as_strided((rows, width), (stride, 1))


@contextmanager
def busy_gpu() -> Iterator[None]:
    """Other work in another stream, so that programs start in another order each time."""
    stream = torch.cuda.Stream()
    square = torch.randn(2048, 2048, device=DEVICE)
    with torch.cuda.stream(stream):
        for _ in range(random.randrange(1, 30)):
            torch.mm(square, square)
    yield
    stream.synchronize()


class Projection:
    """A projection whose rows and slots are scattered, and its reference."""

    def __init__(self, *, e: int = 40, h: int = 70, d: int = 33, layers: int = 2, count: int = 37, states: int = 60) -> None:
        generator = torch.Generator().manual_seed(0)

        def randn(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator).to(DEVICE)

        def index(size: int, offset: int) -> Tensor:
            return torch.randperm(size, generator=generator)[:count].add(offset).to(DEVICE)

        self.layers = layers
        self.states, self.base = randn(states, e), randn(states + 20, d)
        self.rows, self.slots = index(states, 0), index(states + 10, 5)
        self.boundary = torch.tensor([0, 3], device=DEVICE), torch.tensor([1, 2], device=DEVICE)
        width = h if layers == 2 else d
        self.parameters = [randn(width, e) / e**0.5, randn(width)]
        if layers == 2:
            self.parameters += [randn(d, h) / h**0.5, randn(d)]
        self.parameters += [randn(d), randn(d)]

    def leaves(self, dtype: torch.dtype) -> list[Tensor]:
        return [leaf(tensor, dtype) for tensor in (self.states, *self.parameters, self.base)]

    def ours(self, states: Tensor, *tensors: Tensor) -> Tensor:
        *layers, bos, eos, base = tensors
        return project_into(
            states,
            self.rows,
            self.slots,
            *layers,
            out=base.clone(),
            bos=bos,
            bos_slots=self.boundary[0],
            eos=eos,
            eos_slots=self.boundary[1],
        )

    def reference(self, states: Tensor, *tensors: Tensor) -> Tensor:
        w1, b1, *rest, bos, eos, base = tensors
        soft = torch.nn.functional.linear(states[self.rows], w1, b1)
        if rest:
            soft = torch.nn.functional.linear(torch.nn.functional.gelu(soft), *rest)
        out = base.index_copy(0, self.slots, soft)
        return out.index_copy(0, self.boundary[0], bos.expand(2, -1)).index_copy(0, self.boundary[1], eos.expand(2, -1))
