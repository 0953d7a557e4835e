"""Measure speed and peak memory of both stages of a 7B-shaped 4-bit LLM, in this build and in an earlier one.

python -m benchmarks stage_speed --check                                # torch's operators beside Liger's kernels
python -m benchmarks stage_speed --baseline ../lilift-of-yesterday      # and an earlier checkout of lilift
python -m benchmarks stage_speed --device cpu                           # a rehearsal with tiny shapes

The LLM has the shape of Llama-2-7B (or of a recipe's LLM) with fewer layers and random weights in NF4, made on the card. The
encoder is a small mT5. Each build and each kind of kernels has a process of its own. All load at the same time, then they
measure one after the other: two optimizer steps to warm up, then timed ones of two micro-batches. torch's profiler then records
one micro-batch with two layers, and the script sorts its device time by the kind of work.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

# A baseline runs this file with its own lilift. So functions import lilift where they use it.
ROOT = Path(__file__).parents[2]
STAGES = ("align", "transfer")
WARM_UP, TIMED = 2, 3
PROFILED_LAYERS = 2
RANK = 16
SHAPES = {
    "cuda": {"width": 4096, "inner": 11008, "heads": 32, "kv_heads": 32, "layers": 8, "rows": 4, "source": 320, "whole": 1280},
    "cpu": {"width": 64, "inner": 176, "heads": 4, "kv_heads": 2, "layers": 2, "rows": 2, "source": 12, "whole": 48},
}
VOCABULARY = {"cuda": 32000, "cpu": 512}
# Kinds of work by words in the names of a GPU's kernels (and of torch's operators, on a CPU); the first that fits counts.
KINDS = {
    "attention": ("flash", "sdpa", "attention", "fmha", "cutlassF", "cutlassB"),
    "dequantising": ("dequantize", "dequant"),
    "loss": ("cross_entropy", "nll_loss", "exponentials", "hidden_gradient", "accumulate", "merge", "finish"),
    "matrix products": ("gemm", "nvjet", "cutlass", "cublas", "matmul", "::mm", "addmm", "bmm", "linear", "splitk", "xmma"),
    "copies": ("memcpy", "memset", "copy", "cat", "clone"),
}
GOALS = {
    "stage 1, liger beside torch, tokens a second": ("at least", 1.0),
    "stage 2, liger beside torch, tokens a second": ("at least", 1.0),
    "stage 1, this build beside the baseline, tokens a second": ("at least", 1.0),
    "stage 2, this build beside the baseline, tokens a second": ("at least", 1.0),
    "stage 1, this build beside the baseline, peak memory": ("at most", 1.0),
    "stage 2, this build beside the baseline, peak memory": ("at most", 1.0),
}


def run_build(kernels: str, device_name: str, output: Path) -> None:
    """Measure both stages in this process, with the lilift on `sys.path`, and write them as JSON after each stage."""
    began = time.perf_counter()
    from lilift.model.assemble_bridge import attach_lora

    device = torch.device(device_name)
    shape = SHAPES[device_name]
    bridge, recipe = build_bridge(shape, kernels, device)
    output.with_suffix(".ready").touch()
    print(f"  {kernels}: loaded after {time.perf_counter() - began:.1f} s", flush=True)
    sys.stdin.readline()  # until it is this build's turn
    found: dict[str, Any] = {}
    for stage in STAGES:
        if stage == "transfer":
            attach_lora(bridge, recipe.transfer.lora)
            bridge.llm.to(device)
        print(f"  {kernels}: {stage}", flush=True)
        found[stage] = measure_stage(bridge, recipe, stage, shape, device)
        output.write_text(json.dumps(found), encoding="utf-8")
        line = ", ".join(f"{name} {value:.5g}" for name, value in found[stage].items() if isinstance(value, float))
        print(f"  {kernels}: {stage}: {line}", flush=True)


def build_bridge(shape: dict[str, int], kernels: str, device: torch.device) -> tuple[Any, Any]:
    """A bridge with random 4-bit weights, and its recipe."""
    from transformers import LlamaConfig, MT5Config

    from benchmarks.memory.random_models import random_bridge
    from lilift.recipe.load import load_recipe

    settings = ["llm.gradient_checkpointing=true", f"transfer.lora.rank={RANK}"]
    recipe = load_recipe("llama-7b-24gb", settings if kernels == "baseline" else [*settings, f"llm.kernels={kernels}"])
    llm = LlamaConfig(
        vocab_size=VOCABULARY[device.type],
        hidden_size=shape["width"],
        intermediate_size=shape["inner"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["kv_heads"],
        max_position_embeddings=4096,
    )
    encoder = MT5Config(vocab_size=1024, d_model=shape["width"] // 2, d_ff=shape["width"], d_kv=64, num_layers=1, num_heads=8)
    return random_bridge(recipe, (llm, encoder), device), recipe


def measure_stage(bridge: Any, recipe: Any, stage: str, shape: dict[str, int], device: torch.device) -> dict[str, Any]:
    """Tokens a second, peak memory and the kinds of work of one stage."""
    from lilift.data.texts.examples import Row
    from lilift.memory.guard import OutOfMemoryGuard
    from lilift.train.optimizer import allocate_state, build_optimizer
    from lilift.train.step import compute_gradients

    bridge.train_only("alignment" if stage == "align" else "adapter")
    bridge.train()
    trained = {name: weight for name, weight in bridge.named_parameters() if weight.requires_grad}
    optimizer = build_optimizer(trained, getattr(recipe, stage))
    allocate_state(optimizer)
    rows = []
    for number in range(shape["rows"]):  # rows of unequal length, as in training
        response = shape["whole"] - shape["source"] - 3 - number * shape["whole"] // 40
        rows.append(Row((3,) * shape["source"], (), tuple(range(4, 4 + response))))
    rows = [Row(row.encoder_ids, (), tuple(i % VOCABULARY[device.type] for i in row.response_ids)) for row in rows]
    guard = OutOfMemoryGuard(lambda line: print(f"  {line}", flush=True))

    def step() -> Any:
        outcome = compute_gradients(
            bridge,
            [rows, rows],
            list(trained.values()),
            loss_tokens=2 * sum(len(row.response_ids) for row in rows),
            max_grad_norm=1.0,
            guard=guard,
        )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return outcome

    for _ in range(WARM_UP):
        outcome = step()
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(TIMED):
        began = time.perf_counter()
        outcome = step()  # reads the loss, and so waits for the device
        times.append(time.perf_counter() - began)
    found = {
        "tokens a second": outcome.tokens / sorted(times)[TIMED // 2],
        "loss": outcome.loss,
        "gradient norm": outcome.grad_norm,
        "tokens at once": float(sum(bridge.packed_length(row) for row in rows)),
    }
    if device.type == "cuda":
        found["peak MiB"] = torch.cuda.max_memory_allocated() / 2**20
    return {**found, "kinds of work": kinds_of_work(bridge, rows, device)}


def kinds_of_work(bridge: Any, rows: Any, device: torch.device) -> dict[str, float]:
    """Milliseconds of a micro-batch's forward and backward pass by kind of work, with two of the LLM's layers."""
    holder: Any = SimpleNamespace(causal_lm=bridge.causal_lm)
    from lilift.memory.simulation.simulate import decoder_layers

    layers = decoder_layers(holder)
    config = bridge.causal_lm.get_decoder().config
    depth, rest = config.num_hidden_layers, list(layers[PROFILED_LAYERS:])
    del layers[PROFILED_LAYERS:]
    config.num_hidden_layers = PROFILED_LAYERS
    batch = bridge.collate(rows).to(device)
    activity = ProfilerActivity.CUDA if device.type == "cuda" else ProfilerActivity.CPU
    try:
        bridge.loss(batch).backward()
        with profile(activities=[activity], acc_events=True) as profiler:
            bridge.loss(batch).backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
    finally:
        config.num_hidden_layers = depth
        layers.extend(rest)
        bridge.zero_grad(set_to_none=True)
    times: Counter[str] = Counter()
    for event in profiler.key_averages():
        spent = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        times[kind_of(event.key)] += spent / 1000
    return dict(sorted(times.items(), key=lambda pair: -pair[1]))


def kind_of(name: str) -> str:
    """The kind of work of a kernel or an operator."""
    lowered = name.lower()
    return next((kind for kind, words in KINDS.items() if any(word.lower() in lowered for word in words)), "elementwise")


def compare_builds(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Ratios between the builds: Liger's kernels to torch's, and this build's best to the baseline."""
    summary: dict[str, float] = {}

    def ratio(name: str, one: str, other: str, stage: str, figure: str) -> None:
        first, second = (found.get(build, {}).get(stage, {}).get(figure) for build in (one, other))
        if first and second:
            summary[name] = first / second

    best = "liger" if "transfer" in found.get("liger", {}) else "torch"
    for number, stage in enumerate(STAGES, 1):
        ratio(f"stage {number}, liger beside torch, tokens a second", "liger", "torch", stage, "tokens a second")
        label = f"stage {number}, this build beside the baseline"
        ratio(f"{label}, tokens a second", best, "baseline", stage, "tokens a second")
        ratio(f"{label}, peak memory", best, "baseline", stage, "peak MiB")
    return summary


def print_table(found: dict[str, dict[str, Any]]) -> None:
    for build, stages in found.items():
        for stage, figures in stages.items():
            if not isinstance(figures, dict):
                print(f"{build:9} {stage}: {figures}")
                continue
            work = figures["kinds of work"]
            whole = sum(work.values()) or 1.0
            shares = ", ".join(
                f"{kind} {milliseconds:.1f} ms ({milliseconds / whole:.0%})" for kind, milliseconds in work.items()
            )
            speed = f"{figures['tokens a second']:8.0f} tokens/s {figures.get('peak MiB', 0):8.0f} MiB"
            print(f"{build:9} {stage:9} {speed}   loss {figures['loss']:.4f}\n{'':9} {shares}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare speed and memory of both stages between builds and kernels.")
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"], help="cpu: a rehearsal with tiny shapes")
    parser.add_argument("--baseline", type=Path, help="an earlier checkout of lilift to compare with")
    parser.add_argument("--output", type=Path, help="the JSON file (default: in benchmarks/results)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    parser.add_argument("--build", help=argparse.SUPPRESS)  # run one build in this process
    arguments = parser.parse_args()
    if arguments.build:
        run_build(arguments.build, arguments.device, arguments.output)
        return 0
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("this machine has no CUDA GPU; rehearse with --device cpu")
    from benchmarks.shared.result_files import commit_of, keep, report_goals
    from benchmarks.training.build_processes import measure_builds

    builds = ["torch"]
    if arguments.device == "cuda" and find_spec("liger_kernel") is not None:
        builds.append("liger")
    if arguments.baseline is not None:
        builds.append("baseline")
    checkouts = {build: arguments.baseline.resolve() if build == "baseline" else ROOT for build in builds}
    found = measure_builds(Path(__file__).resolve(), checkouts, arguments.device)
    summary = compare_builds(found)
    print_table(found)
    commits = {"baseline": commit_of(arguments.baseline)} if arguments.baseline is not None else {}
    content = {"goals": GOALS, "summary": summary, "builds": found, "shape": SHAPES[arguments.device], "commits": commits}
    keep("stage_speed", content, arguments.output)
    met = report_goals(summary, GOALS)
    failed = any("failed" in stages for stages in found.values())
    return 1 if failed or (arguments.check and not met) else 0


if __name__ == "__main__":
    sys.exit(main())
