"""Loss and gradient over the vocabulary with a frozen head: time, peak memory and error beside everything else there is.

python benchmarks/linear_cross_entropy.py --check
python benchmarks/linear_cross_entropy.py --device cuda --seconds 300

On a CPU it compares in fp32 with the loss of Hugging Face models; on a GPU in bf16 with every peer that is installed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from loss_rivals import IGNORED, Loss, ours, peer_versions, rivals
from measuring import BrokenDevice, Figure, compare, markdown, relative_error
from results import keep, report_goals
from torch import Tensor
from torch.nn import functional

from lilift_kernels import describe, linear_cross_entropy

BROKEN = 3  # exit code: a competitor took the GPU with it
CPU_GOALS = {
    "times faster than Hugging Face, 25% valid": ("at least", 3.0),
    "share of Hugging Face's peak memory, 25% valid": ("at most", 0.1),
    "times faster than Hugging Face, all valid": ("at least", 1.0),
}
# How many times faster than each competitor, on the shape where that is least.
GPU_GOALS = {
    "two products on valid rows, 25% valid": ("at least", 1 / 1.15),
    "liger, 25% valid, V=32000": ("at least", 3.0),
    "liger, 25% valid, V=128256": ("at least", 3.5),
    "liger, all valid": ("at least", 0.95),
    "cut-cross-entropy, 25% valid": ("at least", 1.3),
    "cut-cross-entropy, exact, 25% valid": ("at least", 2.0),
    "eager on valid rows, 25% valid": ("at least", 1.15),
    "compiled, on valid rows, 25% valid": ("at least", 1.05),
    "eager, 25% valid": ("at least", 4.0),
    "unsloth, 25% valid": ("at least", 1.0),
    "share of unsloth's peak memory, 25% valid": ("at most", 0.6),
    "peak MiB beyond the gradient": ("at most", 48.0),
    "error of the gradient": ("at most", 2e-3),
    "runs that differ": ("at most", 0),
}


@dataclass(frozen=True)
class Shape:
    rows: int
    vocabulary: int
    width: int
    valid: float

    def __str__(self) -> str:
        return f"N={self.rows} V={self.vocabulary} D={self.width} valid={self.valid:.0%}"


class Inputs:
    """Hidden states like a trained model's: most rows unsure, some sure of their label."""

    def __init__(self, shape: Shape, weight: Tensor, seed: int) -> None:
        device, dtype = weight.device, weight.dtype
        generator = torch.Generator(device).manual_seed(seed)
        self.weight = weight
        self.labels = torch.randint(shape.vocabulary, (shape.rows,), generator=generator, device=device)
        confidence = 12 * torch.rand(shape.rows, 1, generator=generator, device=device)
        noise = torch.randn(shape.rows, shape.width, generator=generator, device=device)
        self.hidden = (2 * noise + confidence * weight[self.labels].float()).to(dtype).requires_grad_()
        valid = torch.rand(shape.rows, generator=generator, device=device) < shape.valid
        valid[0] = True
        self.labels = self.labels.masked_fill(~valid, IGNORED)

    def run(self, loss: Loss) -> Callable[[], Tensor]:
        def gradient() -> Tensor:
            (result,) = torch.autograd.grad(loss(self.hidden, self.weight, self.labels), self.hidden)
            return result

        return gradient

    def with_rows(self) -> Callable[[], Tensor]:
        """lilift's loss as lilift trains: the batch knows from the CPU which positions carry loss."""
        rows = (self.labels != IGNORED).nonzero().squeeze(1)
        chosen = self.labels[rows]

        def gradient() -> Tensor:
            loss = linear_cross_entropy(self.hidden, self.weight, chosen, rows=rows)
            (result,) = torch.autograd.grad(loss, self.hidden)
            return result

        return gradient

    def repeats(self) -> bool:
        """Whether three runs of lilift's loss agree to the bit."""
        first, *others = (self.run(ours)() for _ in range(3))
        return all(torch.equal(first, other) for other in others)

    def floor(self) -> Callable[[], Tensor]:
        """The two matrix products on the valid rows alone, in pieces that fit in the memory of the others."""
        kept = (self.labels != IGNORED).nonzero().squeeze(1)

        def products() -> Tensor:
            result = torch.zeros_like(self.hidden)
            with torch.no_grad():
                for part in kept.split(1024):
                    rows = self.hidden[part]
                    result[part] = (rows @ self.weight.T) @ self.weight
            return result

        return products

    def error(self, gradient: Tensor) -> float:
        """Of up to 64 valid rows; of all ignored ones, which must be 0."""
        kept = (self.labels != IGNORED).nonzero().squeeze(1)
        sample = kept[:64]
        exact = self.hidden.detach()[sample].double().requires_grad_()
        columns = self.weight.double() if self.weight.numel() < 2**28 else None
        if columns is None:  # float64 of a large head would take 4 GiB and more
            return relative_error(
                gradient[sample] * len(kept), _exact_by_parts(exact.detach(), self.weight, self.labels[sample])
            )
        functional.cross_entropy(exact @ columns.T, self.labels[sample], reduction="sum").backward()
        assert exact.grad is not None
        return relative_error(gradient[sample] * len(kept), exact.grad)


def _exact_by_parts(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    logits = torch.cat([hidden @ part.double().T for part in weight.split(8192)], 1)
    error = logits.softmax(1)
    error[torch.arange(len(labels), device=labels.device), labels] -= 1
    return sum(
        (e @ w.double() for e, w in zip(error.split(8192, 1), weight.split(8192), strict=True)), torch.zeros_like(hidden)
    )


def measure(
    shape: Shape, device: torch.device, losses: dict[str, Loss], *, repeats: int
) -> tuple[dict[str, Figure | str], bool]:
    """The figures by competitor, and whether lilift's results repeat."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    generator = torch.Generator(device).manual_seed(0)
    weight = torch.randn(shape.vocabulary, shape.width, generator=generator, device=device).div_(shape.width**0.5).to(dtype)
    sets = [Inputs(shape, weight, seed) for seed in range(3 if device.type == "cuda" else 1)]
    competitors = {name: [inputs.run(loss) for inputs in sets] for name, loss in losses.items()}
    if device.type == "cuda":
        competitors["lilift, rows known"] = [inputs.with_rows() for inputs in sets]
    competitors["two products on valid rows"] = [inputs.floor() for inputs in sets]
    return compare(competitors, sets[0].error, device, repeats=repeats), sets[0].repeats()


def shapes(arguments: argparse.Namespace) -> list[Shape]:
    """The asked-for shapes; the most telling first, in case the time runs out: those with goals, then large N."""
    grid = itertools.product(arguments.rows, arguments.vocabulary, arguments.width, arguments.valid)
    return sorted(
        (Shape(*cell) for cell in grid),
        key=lambda s: (abs(s.rows - 4096), [0.25, 1.0].index(s.valid) if s.valid in (0.25, 1.0) else 2, s.width, s.vocabulary),
    )


def cpu_summary(found: dict[Shape, dict[str, Figure | str]]) -> dict[str, float]:
    summary = {}
    for shape, figures in found.items():
        mine, theirs = figures["lilift"], figures["eager"]
        assert isinstance(mine, Figure)
        assert isinstance(theirs, Figure)
        share = "all valid" if shape.valid == 1 else f"{shape.valid:.0%} valid"
        summary[f"times faster than Hugging Face, {share}"] = theirs.milliseconds / mine.milliseconds
        summary[f"share of Hugging Face's peak memory, {share}"] = mine.peak_mebibytes / theirs.peak_mebibytes
    return summary


def worst(found: dict[Shape, dict[str, Figure | str]]) -> dict[str, float]:
    """Of every ratio to a competitor the worst over the shapes that were measured."""
    faster: dict[str, list[float]] = {}
    smaller: dict[str, list[float]] = {}
    for shape, figures in found.items():
        mine = figures["lilift"]
        if not isinstance(mine, Figure):
            continue
        share = "all valid" if shape.valid == 1 else f"{shape.valid:.0%} valid"
        for name, theirs in figures.items():
            if not isinstance(theirs, Figure) or name.startswith("lilift"):
                continue
            ratio = theirs.milliseconds / mine.milliseconds
            faster.setdefault(f"{name}, {share}", []).append(ratio)
            faster.setdefault(f"{name}, {share}, V={shape.vocabulary}", []).append(ratio)
            if theirs.peak_mebibytes > 0:
                peaks = smaller.setdefault(f"share of {name}'s peak memory, {share}", [])
                peaks.append(mine.peak_mebibytes / theirs.peak_mebibytes)
    mine = [figures["lilift"] for figures in found.values()]
    known = [figure for figure in mine if isinstance(figure, Figure)]
    summary = {name: min(values) for name, values in faster.items()}
    summary |= {name: max(values) for name, values in smaller.items()}
    if known:
        summary["peak MiB beyond the gradient"] = max(figure.peak_mebibytes for figure in known)
        summary["error of the gradient"] = max(figure.error for figure in known)
    return summary


def main(argv: list[str] | None = None) -> int:
    device_default = "cuda" if torch.cuda.is_available() else "cpu"
    parser = argparse.ArgumentParser(description="Loss and gradient over the vocabulary with a frozen head.")
    parser.add_argument("--device", default=device_default, choices=["cpu", "cuda"])
    parser.add_argument("--rows", type=int, nargs="+", help="N, ignored positions included")
    parser.add_argument("--vocabulary", type=int, nargs="+")
    parser.add_argument("--width", type=int, nargs="+")
    parser.add_argument("--valid", type=float, nargs="+", help="share of the positions that carry loss")
    parser.add_argument("--repeats", type=int, default=None)
    parser.add_argument("--seconds", type=float, default=600, help="start no further shape after this long")
    parser.add_argument("--only", nargs="+", help="of the competitors, these alone beside lilift and eager")
    parser.add_argument("--without", nargs="+", default=[], help="of the competitors, all but these")
    parser.add_argument("--backend", default="inductor", help="of torch.compile")
    parser.add_argument("--output", type=Path, help="where the JSON goes, instead of benchmarks/results")
    parser.add_argument("--check", action="store_true", help="exit 1 where a goal is not met")
    arguments = parser.parse_args(argv)
    on_gpu = arguments.device == "cuda"
    arguments.rows = arguments.rows or ([1024, 4096, 16384] if on_gpu else [2048])
    arguments.vocabulary = arguments.vocabulary or ([32_000, 128_256, 152_064] if on_gpu else [32_000])
    arguments.width = arguments.width or ([2048, 4096, 5120] if on_gpu else [1024])
    arguments.valid = arguments.valid or ([0.1, 0.25, 0.6, 1.0] if on_gpu else [0.25, 1.0])
    repeats = arguments.repeats or (20 if on_gpu else 3)
    device = torch.device(arguments.device)
    losses, absent = rivals(device, arguments.backend)
    for name in arguments.without:
        absent[name] = "left out by --without"
        losses.pop(name, None)
    if arguments.only is not None:
        losses = {name: loss for name, loss in losses.items() if name in ("lilift", "eager", *arguments.only)}
    print(describe().line())
    for name, reason in absent.items():
        print(f"skipped {name}: {reason}")
    started = time.monotonic()
    found: dict[Shape, dict[str, Figure | str]] = {}
    differing = 0
    wanted = shapes(arguments)
    summary: dict[str, float] = {}
    goals: dict[str, tuple[str, float]] = {}
    for number, shape in enumerate(wanted):
        if time.monotonic() - started > arguments.seconds:
            print(f"\nno time for {len(wanted) - number} shapes: {'; '.join(map(str, wanted[number:]))}")
            break
        try:
            found[shape], repeats_exactly = measure(shape, device, losses, repeats=repeats)
        except BrokenDevice as failure:
            print(f"{shape}: {failure}", file=sys.stderr)
            _write(arguments, found, absent, wanted, differing, broken=failure.competitor)
            return BROKEN
        differing += not repeats_exactly
        print(f"\n{shape}\n{markdown(_rows(found[shape]))}", flush=True)
        summary, goals = _write(arguments, found, absent, wanted, differing)  # anew each time: a run that is cut short is kept
    print()
    failed = [shape for shape, figures in found.items() if isinstance(figures["lilift"], str)]
    for shape in failed:
        print(f"FAILED   lilift at {shape}: {found[shape]['lilift']}")
    met = report_goals(summary, goals)
    return 1 if failed or (arguments.check and not met) else 0


def _write(
    arguments: argparse.Namespace,
    found: dict[Shape, dict[str, Figure | str]],
    absent: dict[str, str],
    wanted: list[Shape],
    differing: int,
    broken: str | None = None,
) -> tuple[dict[str, float], dict[str, tuple[str, float]]]:
    """Keep what has been found so far; returns summary and goals."""
    on_gpu = arguments.device == "cuda"
    summary = worst(found) | {"runs that differ": differing}
    if not on_gpu:
        summary |= cpu_summary(found)
    goals = GPU_GOALS if on_gpu else CPU_GOALS
    content: dict[str, Any] = {
        "kernels": describe().line(),
        "skipped": absent,
        "peers": peer_versions(),
        "left_out": [str(shape) for shape in wanted if shape not in found],
        "broken_by": broken,
        "goals": goals,
        "summary": summary,
        "shapes": [{**asdict(shape), "figures": _plain(figures)} for shape, figures in found.items()],
    }
    name = torch.cuda.get_device_name().lower().replace(" ", "-") if on_gpu else "cpu"
    keep(f"linear_cross_entropy-{name}", content, arguments.output)
    return summary, goals


def _plain(figures: dict[str, Figure | str]) -> dict[str, Any]:
    return {name: asdict(figure) if isinstance(figure, Figure) else figure for name, figure in figures.items()}


def _rows(figures: dict[str, Figure | str]) -> list[dict[str, object]]:
    rows = []
    for name, figure in figures.items():
        if isinstance(figure, Figure):
            rows.append(
                {
                    "": name,
                    "ms": f"{figure.milliseconds:.2f}",
                    "spread": f"{figure.spread:.0%}",
                    "peak MiB": f"{figure.peak_mebibytes:.1f}",
                    "error": "-" if name.startswith("two products") else f"{figure.error:.1e}",
                }
            )
        else:
            rows.append({"": name, "ms": figure})
    return rows


if __name__ == "__main__":
    sys.exit(main())
