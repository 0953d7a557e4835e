"""Loss and gradient over the vocabulary with a frozen head: time, peak memory and error beside everything else there is.

python benchmarks/linear_cross_entropy.py --check
python benchmarks/linear_cross_entropy.py --device cuda --seconds 300

On a CPU it compares in fp32 with the loss of Hugging Face models; on a GPU in bf16 with every peer that is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from measuring import Figure, compare, markdown, relative_error
from results import keep, report_goals
from torch import Tensor
from torch.nn import functional

from lilift_kernels import describe, linear_cross_entropy

IGNORED = -100
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # hidden [N, D], weight [V, D], labels [N] -> mean loss

CPU_GOALS = {
    "times faster than Hugging Face, 25% valid": ("at least", 3.0),
    "share of Hugging Face's peak memory, 25% valid": ("at most", 0.1),
    "times faster than Hugging Face, all valid": ("at least", 1.0),
}
# By competitor: how many times faster at 25% valid, at the largest N measured.
GPU_GOALS = {
    "two products on valid rows": ("at least", 1 / 1.15),
    "liger": ("at least", 3.0),
    "cut-cross-entropy": ("at least", 1.3),
    "cut-cross-entropy, exact": ("at least", 2.0),
    "eager on valid rows": ("at least", 1.15),
    "compiled, on valid rows": ("at least", 1.05),
    "eager": ("at least", 4.0),
}


@dataclass(frozen=True)
class Shape:
    rows: int
    vocabulary: int
    width: int
    valid: float

    def __str__(self) -> str:
        return f"N={self.rows} V={self.vocabulary} D={self.width} valid={self.valid:.0%}"


def huggingface(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """What a causal language model of transformers does: all logits, in fp32."""
    return functional.cross_entropy((hidden @ weight.T).float(), labels, ignore_index=IGNORED)


def on_valid_rows(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    kept = (labels != IGNORED).nonzero().squeeze(1)
    return functional.cross_entropy((hidden[kept] @ weight.T).float(), labels[kept])


def ours(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    return linear_cross_entropy(hidden, weight, labels)


def torchs_own() -> Loss:
    function = getattr(functional, "linear_cross_entropy", None)
    if function is None:
        raise ImportError(f"torch {torch.__version__} has no F.linear_cross_entropy")
    return lambda hidden, weight, labels: function(hidden, weight, labels, ignore_index=IGNORED)


def liger() -> Loss:
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    loss = LigerFusedLinearCrossEntropyLoss(ignore_index=IGNORED)
    return lambda hidden, weight, labels: loss(weight, hidden, labels)


def cut_cross_entropy(implementation: str) -> Loss:
    from cut_cross_entropy import linear_cross_entropy as peer

    return lambda hidden, weight, labels: peer(hidden, weight, labels, ignore_index=IGNORED, impl=implementation)


def unsloth() -> Loss:
    from unsloth_zoo.fused_losses import unsloth_fused_ce_loss

    return lambda hidden, weight, labels: unsloth_fused_ce_loss(None, hidden, weight, None, labels, shift_labels=False)


def rivals(device: torch.device, backend: str) -> tuple[dict[str, Loss], dict[str, str]]:
    """The losses that can be measured here, and why the others cannot."""
    found: dict[str, Loss] = {"lilift": ours, "eager": huggingface, "eager on valid rows": on_valid_rows}
    absent: dict[str, str] = {}
    if device.type == "cuda" or backend != "inductor":  # inductor needs a C++ compiler on a CPU
        found["compiled"] = torch.compile(huggingface, backend=backend, dynamic=False)
        found["compiled, on valid rows"] = torch.compile(on_valid_rows, backend=backend, dynamic=True)
    makers: dict[str, tuple[str, Callable[[], Loss]]] = {
        "torch": ("torch", torchs_own),
        "liger": ("liger_kernel", liger),
        "cut-cross-entropy": ("cut_cross_entropy", lambda: cut_cross_entropy("cce")),
        "cut-cross-entropy, exact": ("cut_cross_entropy", lambda: cut_cross_entropy("cce_exact")),
        "unsloth": ("unsloth_zoo", unsloth),
    }
    for name, (package, make) in makers.items():
        if importlib.util.find_spec(package) is None:
            absent[name] = f"{package} is not installed"
        elif package != "torch" and device.type != "cuda":
            absent[name] = "needs a GPU"
        else:
            try:
                found[name] = make()
            except (ImportError, AttributeError, RuntimeError) as failure:
                absent[name] = f"{type(failure).__name__}: {str(failure).splitlines()[0][:200]}"
    return found, absent


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


def measure(shape: Shape, device: torch.device, losses: dict[str, Loss], *, repeats: int) -> dict[str, Figure | str]:
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    generator = torch.Generator(device).manual_seed(0)
    weight = torch.randn(shape.vocabulary, shape.width, generator=generator, device=device).div_(shape.width**0.5).to(dtype)
    sets = [Inputs(shape, weight, seed) for seed in range(3 if device.type == "cuda" else 1)]
    competitors = {name: [inputs.run(loss) for inputs in sets] for name, loss in losses.items()}
    competitors["two products on valid rows"] = [inputs.floor() for inputs in sets]
    return compare(competitors, sets[0].error, device, repeats=repeats)


def shapes(arguments: argparse.Namespace) -> list[Shape]:
    """The asked-for shapes; the most telling first, in case the time runs out: 25% valid, then large N."""
    grid = itertools.product(arguments.rows, arguments.vocabulary, arguments.width, arguments.valid)
    return sorted(
        (Shape(*cell) for cell in grid), key=lambda s: (abs(s.valid - 0.25), abs(s.rows - 4096), s.width, s.vocabulary)
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


def gpu_summary(found: dict[Shape, dict[str, Figure | str]]) -> dict[str, float]:
    """How many times faster than each competitor: the smallest ratio over the shapes that are a quarter valid."""
    ratios: dict[str, list[float]] = {}
    for shape, figures in found.items():
        mine = figures["lilift"]
        if shape.valid != 0.25 or not isinstance(mine, Figure):
            continue
        for name, theirs in figures.items():
            if name != "lilift" and isinstance(theirs, Figure):
                ratios.setdefault(name, []).append(theirs.milliseconds / mine.milliseconds)
    return {name: min(values) for name, values in ratios.items()}


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
    if arguments.only is not None:
        losses = {name: loss for name, loss in losses.items() if name in ("lilift", "eager", *arguments.only)}
    print(describe().line())
    for name, reason in absent.items():
        print(f"skipped {name}: {reason}")
    started = time.monotonic()
    found: dict[Shape, dict[str, Figure | str]] = {}
    left_out = []
    for shape in shapes(arguments):
        if time.monotonic() - started > arguments.seconds:
            left_out.append(str(shape))
            continue
        found[shape] = measure(shape, device, losses, repeats=repeats)
        print(f"\n{shape}\n{markdown(_rows(found[shape]))}", flush=True)
    if left_out:
        print(f"\nno time for {len(left_out)} shapes: {'; '.join(left_out)}")
    summary = gpu_summary(found) if on_gpu else cpu_summary(found)
    goals = {name: goal for name, goal in (GPU_GOALS if on_gpu else CPU_GOALS).items() if name in summary}
    name = torch.cuda.get_device_name().lower().replace(" ", "-") if on_gpu else "cpu"
    content: dict[str, Any] = {
        "kernels": describe().line(),
        "skipped": absent,
        "left_out": left_out,
        "goals": goals,
        "summary": summary,
        "shapes": [{**asdict(shape), "figures": _plain(figures)} for shape, figures in found.items()],
    }
    keep(f"linear_cross_entropy-{name}", content, arguments.output)
    print()
    return 0 if report_goals(summary, goals) or not arguments.check else 1


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
