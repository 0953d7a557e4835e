"""Measure time, peak memory, saved activations and error of the alignment projection beside eager torch.

python -m benchmarks alignment_projection --check
python -m benchmarks alignment_projection --device cuda

Eager torch projects every padded position, and concatenates text, boundaries and soft tokens row by row.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.shared.measuring import Figure, Watch, compare, markdown, relative_error
from benchmarks.shared.result_files import keep, report_goals
from lilift_kernels import describe, project_into
from lilift_kernels.dispatch import SETTING

PROMPT = 24  # text positions of each row of the batch
CPU_GOALS = {
    "times faster than eager, 60% valid": ("at least", 1.0),
    "saved activations, share of eager, all valid": ("at most", 0.6),
}
GPU_GOALS = {
    "times faster than eager, all valid": ("at least", 1.15),
    "times faster than eager, 60% valid": ("at least", 1.6),
    "times faster than compiled, all valid": ("at least", 1.0),
    "times faster than compiled, 60% valid": ("at least", 1.4),
    "saved activations, share of eager, all valid": ("at most", 0.6),
}


@dataclass(frozen=True)
class Shape:
    rows: int
    states: int
    width: int
    hidden: int
    out: int
    valid: float

    def __str__(self) -> str:
        return f"{self.rows} x {self.states} states, {self.width} -> {self.hidden} -> {self.out}, {self.valid:.0%} valid"


class Inputs:
    """A padded batch of encoder states, text embeddings, and the projection's parameters."""

    def __init__(self, shape: Shape, device: torch.device, seed: int) -> None:
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        generator = torch.Generator(device).manual_seed(seed)

        def randn(*size: int, by: float = 1.0) -> Tensor:
            return torch.randn(*size, generator=generator, device=device).mul_(by).to(dtype)

        def index(places: list[int]) -> Tensor:
            return torch.tensor(places, dtype=torch.int64, device=device)

        length = max(1, round(shape.valid * shape.states))
        span = PROMPT + 2 + shape.states
        self.shape, self.length = shape, length
        self.states = randn(shape.rows, shape.states, shape.width)
        self.text = randn(shape.rows, PROMPT, shape.out)
        self.parameters = [
            parameter.requires_grad_()
            for parameter in (
                randn(shape.hidden, shape.width, by=shape.width**-0.5),
                randn(shape.hidden),
                randn(shape.out, shape.hidden, by=shape.hidden**-0.5),
                randn(shape.out),
                randn(shape.out),
                randn(shape.out),
            )
        ]
        batch = range(shape.rows)
        self.rows = index([row * shape.states + i for row in batch for i in range(length)])
        self.bos_slots = index([row * span for row in batch])
        self.slots = index([row * span + 1 + i for row in batch for i in range(length)])
        self.eos_slots = index([row * span + 1 + length for row in batch])
        self.text_slots = index([row * span + 2 + length + i for row in batch for i in range(PROMPT)])
        self.upstream = randn(shape.rows * span, shape.out)
        self.span = span

    def ours(self) -> Tensor:
        w1, b1, w2, b2, bos, eos = self.parameters
        out = self.text.new_zeros(self.shape.rows * self.span, self.shape.out)
        out.index_copy_(0, self.text_slots, self.text.flatten(0, 1))
        return project_into(
            self.states,
            self.rows,
            self.slots,
            w1,
            b1,
            w2,
            b2,
            out=out,
            bos=bos,
            bos_slots=self.bos_slots,
            eos=eos,
            eos_slots=self.eos_slots,
        )

    def eager(self) -> Tensor:
        return eager(self.states, self.text, self.parameters, self.length)

    def step(self, compute: Callable[[], Tensor]) -> Callable[[], tuple[Tensor, ...]]:
        """Forward and backward; returns every parameter's gradient."""
        return lambda: torch.autograd.grad(compute(), self.parameters, self.upstream)

    def exact(self) -> tuple[Tensor, ...]:
        """The same in float64."""
        parameters = [parameter.detach().double().requires_grad_() for parameter in self.parameters]
        result = eager(self.states.double(), self.text.double(), parameters, self.length)
        return torch.autograd.grad(result, parameters, self.upstream.double())


def eager(states: Tensor, text: Tensor, parameters: list[Tensor], length: int) -> Tensor:
    """The usual code: it projects every state, and concatenates each row of the batch."""
    w1, b1, w2, b2, bos, eos = parameters
    soft = functional.linear(functional.gelu(functional.linear(states, w1, b1)), w2, b2)
    rest = text.new_zeros(states.shape[1] - length, text.shape[2])
    return torch.cat([part for i in range(len(states)) for part in (bos[None], soft[i, :length], eos[None], text[i], rest)])


def gradients_error(found: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> float:
    """Relative L2 of all gradients together."""
    return relative_error(*(torch.cat([gradient.flatten() for gradient in gradients]) for gradients in (found, exact)))


def saved_bytes(inputs: Inputs, compute: Callable[[], Tensor]) -> int:
    """Bytes that forward keeps for backward, without parameters and the encoder's states."""
    known = {tensor.untyped_storage().data_ptr() for tensor in (*inputs.parameters, inputs.states, inputs.text)}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point() and tensor.untyped_storage().data_ptr() not in known:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = compute()
    size = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    del result
    return size


def measure(
    shape: Shape, device: torch.device, watch: Watch, *, backend: str | None, repeats: int
) -> tuple[dict[str, Figure | str], dict[str, int]]:
    """The figures by competitor, and the bytes that each keeps for backward."""
    sets = [Inputs(shape, device, seed) for seed in range(3 if device.type == "cuda" else 1)]
    competitors = {"lilift": [inputs.step(inputs.ours) for inputs in sets]}
    competitors["eager"] = [inputs.step(inputs.eager) for inputs in sets]
    if backend is not None:
        compiled = torch.compile(eager, backend=backend, dynamic=False)
        competitors["compiled"] = [
            inputs.step(partial(compiled, inputs.states, inputs.text, inputs.parameters, inputs.length)) for inputs in sets
        ]
    exact = sets[0].exact()
    figures = compare(competitors, lambda found: gradients_error(found, exact), device, repeats=repeats, watch=watch)
    return figures, {"lilift": saved_bytes(sets[0], sets[0].ours), "eager": saved_bytes(sets[0], sets[0].eager)}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure the alignment projection into the LLM's input embeddings.")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rows", type=int, default=8, help="rows of the batch")
    parser.add_argument("--states", type=int, help="encoder states of a row, with padding")
    parser.add_argument("--widths", type=int, nargs=3, metavar=("ENCODER", "HIDDEN", "LLM"))
    parser.add_argument("--valid", type=float, nargs="+", default=[0.6, 1.0])
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--backend", help="backend of torch.compile (on a CPU, torch.compile runs only with this option)")
    parser.add_argument("--output", type=Path, help="write the JSON here instead of to benchmarks/results")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    arguments = parser.parse_args(argv)
    device = torch.device(arguments.device)
    on_gpu = device.type == "cuda"
    widths = arguments.widths or ([2048, 4096, 4096] if on_gpu else [512, 1024, 1024])
    states = arguments.states or (256 if on_gpu else 64)
    backend = arguments.backend or ("inductor" if on_gpu else None)
    if on_gpu:
        os.environ.setdefault(SETTING, "triton")  # otherwise torch could run under the name of Triton
    print(describe().line())
    goals = GPU_GOALS if on_gpu else CPU_GOALS
    summary: dict[str, float] = {}
    shapes: list[dict[str, Any]] = []
    for valid in arguments.valid:
        shape = Shape(arguments.rows, states, *widths, valid)
        repeats = arguments.repeats or (30 if on_gpu else 9)
        figures, saved = measure(shape, device, Watch(arguments.output), backend=backend, repeats=repeats)
        print(f"\n{shape}\n{markdown(_rows(figures, saved))}", flush=True)
        share = "all valid" if valid == 1 else f"{valid:.0%} valid"
        mine = figures["lilift"]
        for name, theirs in figures.items():
            if name != "lilift" and isinstance(mine, Figure) and isinstance(theirs, Figure):
                summary[f"times faster than {name}, {share}"] = theirs.milliseconds / mine.milliseconds
        summary[f"saved activations, share of eager, {share}"] = saved["lilift"] / saved["eager"]
        plain = {name: asdict(item) if isinstance(item, Figure) else item for name, item in figures.items()}
        shapes.append({**asdict(shape), "figures": plain, "saved bytes": saved})
        name = torch.cuda.get_device_name().lower().replace(" ", "-") if on_gpu else "cpu"
        content = {"kernels": describe().line(), "goals": goals, "summary": summary, "shapes": shapes}
        # After each shape, so that an interrupted run keeps its results.
        keep(f"alignment_projection-{name}", content, arguments.output)
    print()
    failed = [entry for entry in shapes if isinstance(entry["figures"]["lilift"], str)]
    for entry in failed:
        print(f"FAILED   lilift at {entry['valid']:.0%} valid: {entry['figures']['lilift']}")
    met = report_goals(summary, goals)
    return 1 if failed or (arguments.check and not met) else 0


def _rows(figures: dict[str, Figure | str], saved: dict[str, int]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for name, figure in figures.items():
        if isinstance(figure, str):
            rows.append({"": name, "ms": figure})
            continue
        rows.append(
            {
                "": name,
                "ms": f"{figure.milliseconds:.2f}",
                "spread": f"{figure.spread:.0%}",
                "peak MiB": f"{figure.peak_mebibytes:.1f}",
                "saved MiB": f"{saved[name] / 2**20:.2f}" if name in saved else "",
                "error": f"{figure.error:.1e}",
            }
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
