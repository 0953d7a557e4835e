"""Measure time, peak memory and error of the loss over the vocabulary beside other implementations of it.

python -m benchmarks linear_cross_entropy --check
python -m benchmarks linear_cross_entropy --device cuda --seconds 300 --rows 1024 4096 --valid 0.1 0.25 0.6 1
LIGER_KERNEL_IMPL=cutile python -m benchmarks linear_cross_entropy --device cuda --only liger    # Liger's other backends

The head is frozen: loss and the gradient of the hidden states are measured. On a CPU the script compares in fp32 with the loss
of Hugging Face models, on a GPU in bf16 with every peer that is installed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.kernels.loss_inputs import Inputs, Shape
from benchmarks.kernels.loss_rivals import Loss, peer_versions, rivals
from benchmarks.shared.measuring import BROKEN, BrokenDevice, Figure, Watch, compare, markdown
from benchmarks.shared.result_files import keep, report_goals
from lilift_kernels import describe
from lilift_kernels.dispatch import SETTING

Figures = dict[str, Figure | str]  # by competitor, or the reason why there are none
CPU_GOALS = {
    "times faster than Hugging Face, 25% valid": ("at least", 3.0),
    "share of Hugging Face's peak memory, 25% valid": ("at most", 0.1),
    "times faster than Hugging Face, all valid": ("at least", 1.0),
}
# How many times faster than each competitor, on the shape where that is least.
GPU_GOALS = {
    "two products on valid rows, 25% valid": ("at least", 1 / 1.15),
    "two products on valid rows, all valid": ("at least", 1 / 1.15),
    "compiled, on valid rows, 25% valid": ("at least", 1.0),
    "compiled, on valid rows, all valid": ("at least", 1.0),
    "liger, V=32000": ("at least", 1.4),
    "liger, V=128256": ("at least", 4.0),
    "cut-cross-entropy, exact": ("at least", 2.5),
    "unsloth, 25% valid": ("at least", 1.0),
    "share of unsloth's peak memory, 25% valid": ("at most", 0.6),
    "peak MiB beyond the gradient": ("at most", 48.0),
    "error of the gradient beside eager": ("at most", 1.02),
    "runs that differ": ("at most", 0),
}


def measure(
    shape: Shape, device: torch.device, losses: Mapping[str, Loss], watch: Watch, *, repeats: int
) -> tuple[Figures, bool | None]:
    """The figures by competitor, and whether lilift's results repeat; None where lilift failed."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    generator = torch.Generator(device).manual_seed(1000)  # not a seed of `Inputs`
    weight = torch.randn(shape.vocabulary, shape.width, generator=generator, device=device).div_(shape.width**0.5).to(dtype)
    sets = [Inputs(shape, weight, seed) for seed in range(3 if device.type == "cuda" else 1)]
    competitors = {name: [inputs.run(loss) for inputs in sets] for name, loss in losses.items()}
    if device.type == "cuda":
        competitors["lilift, rows known"] = [inputs.with_rows() for inputs in sets]
    competitors["two products on valid rows"] = [inputs.floor() for inputs in sets]
    figures = compare(competitors, sets[0].error, device, repeats=repeats, watch=watch)
    return figures, sets[0].repeats() if isinstance(figures["lilift"], Figure) else None


def shapes(arguments: argparse.Namespace) -> list[Shape]:
    """The chosen shapes, the most important first in case the time runs out: those with goals, then those with large N."""
    grid = itertools.product(arguments.rows, arguments.vocabulary, arguments.width, arguments.valid)
    return sorted(
        (Shape(*cell) for cell in grid),
        key=lambda s: (abs(s.rows - 4096), [0.25, 1.0].index(s.valid) if s.valid in (0.25, 1.0) else 2, s.width, s.vocabulary),
    )


def cpu_summary(found: Mapping[Shape, Figures]) -> dict[str, float]:
    summary = {}
    for shape, figures in found.items():
        mine, theirs = figures["lilift"], figures.get("eager")
        if not isinstance(mine, Figure) or not isinstance(theirs, Figure):
            continue
        share = "all valid" if shape.valid == 1 else f"{shape.valid:.0%} valid"
        summary[f"times faster than Hugging Face, {share}"] = theirs.milliseconds / mine.milliseconds
        summary[f"share of Hugging Face's peak memory, {share}"] = mine.peak_mebibytes / theirs.peak_mebibytes
    return summary


def worst(found: Mapping[Shape, Figures]) -> dict[str, float]:
    """The worst ratio to each competitor over all measured shapes."""
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
            vocabulary = f"V={shape.vocabulary}"
            for key in (name, f"{name}, {share}", f"{name}, {vocabulary}", f"{name}, {share}, {vocabulary}"):
                faster.setdefault(key, []).append(ratio)
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
        pairs = [(figures["lilift"], figures.get("eager on valid rows")) for figures in found.values()]
        ratios = [
            ours.error / theirs.error for ours, theirs in pairs if isinstance(ours, Figure) and isinstance(theirs, Figure)
        ]
        summary |= {"error of the gradient beside eager": max(ratios)} if ratios else {}
    return summary


@dataclass
class Findings:
    """The results so far, written after each shape, so that an interrupted run keeps them."""

    by_shape: dict[Shape, Figures] = field(default_factory=dict)
    differing: int = 0  # shapes at which lilift's results did not repeat

    @classmethod
    def read(cls, path: Path) -> Findings:
        """The results of an earlier run; empty if there is no file."""
        if not path.exists():
            return cls()
        content = json.loads(path.read_text(encoding="utf-8"))
        found = cls(differing=int(content["summary"]["runs that differ"]))
        for entry in content["shapes"]:
            figures = entry.pop("figures")
            found.by_shape[Shape(**entry)] = {
                name: figure if isinstance(figure, str) else Figure(**figure) for name, figure in figures.items()
            }
        return found

    def summary(self, *, on_gpu: bool) -> dict[str, float]:
        summary = worst(self.by_shape) | {"runs that differ": self.differing}
        return summary if on_gpu else summary | cpu_summary(self.by_shape)

    def write(self, absent: Mapping[str, str], wanted: list[Shape], output: Path | None, *, on_gpu: bool) -> None:
        content: dict[str, Any] = {
            "kernels": describe().line(),
            "skipped": absent,
            "peers": peer_versions(),
            "left_out": [str(shape) for shape in wanted if shape not in self.by_shape],
            "goals": GPU_GOALS if on_gpu else CPU_GOALS,
            "summary": self.summary(on_gpu=on_gpu),
            "shapes": [{**asdict(shape), "figures": _plain(figures)} for shape, figures in self.by_shape.items()],
        }
        name = torch.cuda.get_device_name().lower().replace(" ", "-") if on_gpu else "cpu"
        keep(f"linear_cross_entropy-{name}", content, output)


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    device = torch.device(arguments.device)
    on_gpu = device.type == "cuda"
    if on_gpu:
        os.environ.setdefault(SETTING, "triton")  # otherwise torch could run under the name of Triton
    losses, absent = rivals(device, arguments.backend)
    for name in arguments.without:
        absent[name] = "left out by --without"
        losses.pop(name, None)
    if arguments.only is not None:
        losses = {name: loss for name, loss in losses.items() if name in ("lilift", "eager", *arguments.only)}
    print(describe().line())
    for name, reason in absent.items():
        print(f"skipped {name}: {reason}")
    wanted = shapes(arguments)
    found = Findings.read(arguments.output) if arguments.resume else Findings()
    watch = Watch(arguments.output)
    started = time.monotonic()
    for shape in wanted:
        if shape in found.by_shape:
            continue
        if time.monotonic() - started > arguments.seconds:
            break
        try:
            figures, repeats = measure(shape, device, losses, watch, repeats=arguments.repeats)
        except BrokenDevice as failure:
            print(f"{shape}: {failure}", file=sys.stderr)
            if failure.competitor.startswith("lilift"):  # a second try would fail too
                found.by_shape[shape] = {"lilift": str(failure)}
                found.write(absent, wanted, arguments.output, on_gpu=on_gpu)
            return BROKEN
        found.by_shape[shape] = figures
        found.differing += repeats is False
        print(f"\n{shape}\n{markdown(_rows(figures))}", flush=True)
        found.write(absent, wanted, arguments.output, on_gpu=on_gpu)
    if left_out := [str(shape) for shape in wanted if shape not in found.by_shape]:
        print(f"\nno time for {len(left_out)} shapes: {'; '.join(left_out)}")
    print()
    failed = [shape for shape, figures in found.by_shape.items() if isinstance(figures["lilift"], str)]
    for shape in failed:
        print(f"FAILED   lilift at {shape}: {found.by_shape[shape]['lilift']}")
    met = report_goals(found.summary(on_gpu=on_gpu), GPU_GOALS if on_gpu else CPU_GOALS)
    return 1 if failed or (arguments.check and not met) else 0


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line, with the device's defaults."""
    device_default = "cuda" if torch.cuda.is_available() else "cpu"
    parser = argparse.ArgumentParser(description="Measure loss and gradient over the vocabulary with a frozen head.")
    parser.add_argument("--device", default=device_default, choices=["cpu", "cuda"])
    parser.add_argument("--rows", type=int, nargs="+", help="N, with the ignored positions")
    parser.add_argument("--vocabulary", type=int, nargs="+")
    parser.add_argument("--width", type=int, nargs="+")
    parser.add_argument("--valid", type=float, nargs="+", help="share of the positions that carry loss")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--seconds", type=float, default=math.inf, help="start no new shape after this time")
    parser.add_argument("--only", nargs="+", help="measure only these competitors, beside lilift and eager")
    parser.add_argument("--without", nargs="+", default=[], help="leave out these competitors")
    parser.add_argument("--backend", default="inductor", help="backend of torch.compile")
    parser.add_argument("--output", type=Path, help="write the JSON here instead of to benchmarks/results")
    parser.add_argument("--resume", action="store_true", help="keep the shapes in the file that --output names")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    arguments = parser.parse_args(argv)
    if arguments.resume and arguments.output is None:
        parser.error("--resume needs --output FILE")
    on_gpu = arguments.device == "cuda"
    arguments.rows = arguments.rows or ([4096] if on_gpu else [2048])
    arguments.vocabulary = arguments.vocabulary or ([32_000, 128_256] if on_gpu else [32_000])
    arguments.width = arguments.width or ([4096] if on_gpu else [1024])
    arguments.valid = arguments.valid or [0.25, 1.0]
    arguments.repeats = arguments.repeats or (20 if on_gpu else 3)
    return arguments


def _plain(figures: Figures) -> dict[str, Any]:
    return {name: asdict(figure) if isinstance(figure, Figure) else figure for name, figure in figures.items()}


def _rows(figures: Figures) -> list[dict[str, object]]:
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
