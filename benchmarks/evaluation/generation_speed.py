"""Measure how many tokens a second an LLM in the shape of Llama-2-7B writes: in 4 bits, dequantised, and with CUDA graphs.

python -m benchmarks generation_speed --check
python -m benchmarks generation_speed --baseline CHECKOUT --check     also the code of another checkout, in a process of its own
python -m benchmarks generation_speed --device cpu                    a rehearsal with tiny shapes

The weights are random and made on the device; 8 of 32 layers fit the time. Prompts of 128 tokens get 64 new tokens, without and
with a LoRA adapter of rank 16. "today" is an ordinary step with 4-bit weights: the other checkout's, or without `--baseline`
this one's, whose ordinary steps on a GPU are the same. A table shows what bitsandbytes' 4-bit product takes beside
dequantising and multiplying, and beside plain bfloat16.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import bitsandbytes
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.memory.random_models import four_bit_layer
from lilift.memory.simulation.fake_models import quantise
from lilift.model.decoding.generation import Continuer
from lilift.model.four_bit_loading import keep_autograd_on_cpu

BATCHES = (1, 2, 8, 32, 64)
ROWS = (32, 1)
LONGEST = 0.7  # a second run only if the first one took less, in seconds
GOALS = {
    "32 rows: speed beside today": ("at least", 3.0),
    "32 rows with adapter: speed beside today": ("at least", 3.0),
    "32 rows beside 1 row": ("at least", 20.0),
}


class Shapes:
    """The sizes of the measurement; tiny ones on a CPU."""

    def __init__(self, device: str, layers: int) -> None:
        gpu = device == "cuda"
        self.device = torch.device(device)
        self.dtype = torch.bfloat16 if gpu else torch.float32
        self.width, self.inner, self.vocabulary = (4096, 11008, 32000) if gpu else (128, 344, 500)
        self.layers = layers if gpu else 2
        self.prompt, self.new = (128, 64) if gpu else (12, 8)


def random_llm(shapes: Shapes, *, adapter: bool) -> Any:
    """An LLM with random NF4 weights, made on the device."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=shapes.vocabulary,
        hidden_size=shapes.width,
        intermediate_size=shapes.inner,
        num_hidden_layers=shapes.layers,
        num_attention_heads=shapes.width // (128 if shapes.width > 128 else 32),
        tie_word_embeddings=False,
    )
    with shapes.device:
        previous = torch.get_default_dtype()
        torch.set_default_dtype(shapes.dtype)
        llm = LlamaForCausalLM(config)
        torch.set_default_dtype(previous)
    quantise(llm, partial(four_bit_layer, dtype=shapes.dtype, device=shapes.device), skip=llm.get_output_embeddings())
    llm.is_loaded_in_4bit = True  # peft reads this
    llm.requires_grad_(False).eval()
    keep_autograd_on_cpu(llm)
    if not adapter:
        return llm
    adapted = get_peft_model(llm, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.002)
    return adapted.get_base_model().eval()


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def answered(llm: Any, shapes: Shapes, rows: int, **options: Any) -> list[tuple[int, ...]]:
    """The new tokens of every row. No token ends an answer."""
    torch.manual_seed(1)
    ids = torch.randint(shapes.vocabulary, (rows, shapes.prompt)).to(shapes.device)
    mask = torch.ones_like(ids, dtype=torch.bool)

    def embed(chosen: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        part = list(chosen)
        return llm.get_input_embeddings()(ids[part]), mask[part], mask[part].cumsum(-1) - 1

    budget = rows * (shapes.prompt + shapes.new)
    continuer = Continuer(llm, stop=[shapes.vocabulary], max_new_tokens=shapes.new, budget=budget, **options)
    found = list(continuer.run([shapes.prompt] * rows, embed))
    return [one.ids for one in sorted(found, key=lambda one: one.row)]


def speed(llm: Any, shapes: Shapes, rows: int, **options: Any) -> tuple[float, list[tuple[int, ...]]]:
    """New tokens a second, the better of two runs after one that records and sets everything up; and the tokens."""
    tokens = answered(llm, shapes, rows, **options)
    seconds: list[float] = []
    while len(seconds) < 2 and sum(seconds) < LONGEST:
        synchronise(shapes.device)
        started = time.perf_counter()
        answered(llm, shapes, rows, **options)
        synchronise(shapes.device)
        seconds.append(time.perf_counter() - started)
    return rows * shapes.new / min(seconds), tokens


def named(rows: int, adapter: bool) -> str:
    return f"{rows} row{'s' if rows > 1 else ''}{' with adapter' if adapter else ''}"


def microseconds(work: Callable[[], object], device: torch.device) -> float:
    """Time of one call, the median of five series."""
    series, calls = [], 20 if device.type == "cuda" else 3
    for _ in range(3):
        work()
    for _ in range(5):
        synchronise(device)
        started = time.perf_counter()
        for _ in range(calls):
            work()
        synchronise(device)
        series.append((time.perf_counter() - started) / calls * 1e6)
    return sorted(series)[2]


def recorded(work: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """The same work as a CUDA graph, so that only the GPU's time counts; without a GPU the work itself."""
    if device.type != "cuda":
        return work
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def linears(shapes: Shapes, save: Callable[[dict[str, Any]], None]) -> None:
    """Microseconds of one product by shape, batch and way, as Python starts it and recorded as a graph."""
    table: dict[str, dict[str, float]] = {}
    for inner, outer in ((shapes.width, shapes.width), (shapes.width, shapes.inner)):
        plain = nn.Linear(inner, outer, bias=False, device=shapes.device, dtype=shapes.dtype).requires_grad_(False)
        layer: Any = four_bit_layer(plain, dtype=shapes.dtype, device=shapes.device)
        keep_autograd_on_cpu(layer)
        for batch in BATCHES:
            x = torch.randn(batch, 1, inner, device=shapes.device, dtype=shapes.dtype)
            state = layer.weight.quant_state

            def in_two_steps(x: Tensor = x, layer: Any = layer, state: Any = state) -> Tensor:
                return functional.linear(x, bitsandbytes.functional.dequantize_4bit(layer.weight.data, state))

            ways = {"bitsandbytes": partial(layer, x), "dequantise + matmul": in_two_steps, "bfloat16": partial(plain, x)}
            cell = {}
            with torch.no_grad():
                for name, work in ways.items():
                    cell[name] = round(microseconds(work, shapes.device), 1)
                    try:
                        cell[f"{name}, recorded"] = round(microseconds(recorded(work, shapes.device), shapes.device), 1)
                    except RuntimeError as error:
                        print(f"{name} cannot be recorded: {str(error).splitlines()[0]}", flush=True)
            table[f"{inner} x {outer}, batch {batch}"] = cell
            print(f"{inner} x {outer}, batch {batch}: {cell}", flush=True)
            save({"microseconds of one product": table})


def today(shapes: Shapes, save: Callable[[dict[str, float]], None]) -> None:
    """Ordinary steps with 4-bit weights, also with the code of a checkout that knows no others."""
    options = {"graphs": False} if "graphs" in Continuer.__init__.__annotations__ else {}
    for adapter in (False, True):
        llm = random_llm(shapes, adapter=adapter)
        for rows in ROWS:
            found = speed(llm, shapes, rows, **options)[0]
            print(f"{named(rows, adapter)}, today: {found:.1f} tokens/s", flush=True)
            save({f"{named(rows, adapter)}: tokens/s today": found})


def of_baseline(checkout: Path, device: str, layers: int) -> dict[str, float]:
    """`today` with another checkout's code."""
    paths = os.pathsep.join([str(checkout), str(checkout / "kernels"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, __file__, "--device", device, "--layers", str(layers), "--only-today"]
    found = {}
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                found |= json.loads(line)
            else:
                print(line, end="", flush=True)
    if process.returncode:
        print(f"the baseline stopped with exit code {process.returncode}", flush=True)
    return found


def this_build(shapes: Shapes, found: dict[str, float], save: Callable[[dict[str, float]], None]) -> None:
    """All ways of this build."""
    from lilift.model.decoding.dequantised_weights import dequantise, dequantised

    for adapter in (False, True):
        llm = random_llm(shapes, adapter=adapter)
        for weights in ("4 bits", "dequantised"):
            if weights == "dequantised":
                dequantise(llm)
                assert dequantised(llm)
            ordinary: dict[int, list[tuple[int, ...]]] = {}
            for graphs in (False, True):
                for rows in ROWS:
                    name = f"{named(rows, adapter)}: tokens/s, {weights}{', graphs' if graphs else ''}"
                    value, tokens = speed(llm, shapes, rows, graphs=graphs)
                    if graphs:
                        same = sum(one == other for one, other in zip(tokens, ordinary[rows], strict=True))
                        save({f"{named(rows, adapter)}, {weights}: same answers with graphs, share": same / rows})
                    ordinary[rows] = tokens
                    print(f"{name}: {value:.1f}", flush=True)
                    save({name: value})
        del llm
    for adapter in (False, True):
        for rows in ROWS:
            name = named(rows, adapter)
            before = found.get(f"{name}: tokens/s today", found[f"{name}: tokens/s, 4 bits"])
            save({f"{name}: speed beside today": found[f"{name}: tokens/s, dequantised, graphs"] / before})
    together, alone = (found[f"{named(rows, False)}: tokens/s, dequantised, graphs"] for rows in ROWS)
    save({"32 rows beside 1 row": together / alone})


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure tokens a second of an LLM in the shape of Llama-2-7B.")
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"], help="cpu: rehearse with tiny shapes")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--baseline", type=Path, metavar="CHECKOUT", help="a checkout with the code of before")
    parser.add_argument("--output", type=Path, help="where to write the JSON instead of benchmarks/results")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    parser.add_argument("--only-today", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, bitsandbytes {bitsandbytes.__version__}, device {arguments.device}", flush=True)
    if arguments.device == "cpu":
        torch.set_num_threads(1)
    shapes = Shapes(arguments.device, arguments.layers)
    if arguments.only_today:
        today(shapes, lambda part: print(json.dumps(part), flush=True))
        return 0
    from benchmarks.shared.result_files import commit_of, keep, report_goals

    found: dict[str, float] = {}
    goals = GOALS if shapes.device.type == "cuda" else {}
    extra: dict[str, Any] = {"goals": goals, "layers": shapes.layers, "prompt": shapes.prompt, "new_tokens": shapes.new}
    output = arguments.output or (None if goals else Path(os.devnull))

    def save(part: dict[str, float]) -> None:
        found.update(part)
        keep("generation_speed", extra | {"summary": found}, output)

    with torch.no_grad() if arguments.device == "cuda" else nullcontext():
        if arguments.baseline is not None:
            extra["baseline"] = commit_of(arguments.baseline)
            save(of_baseline(arguments.baseline, arguments.device, arguments.layers))
        this_build(shapes, found, save)
        linears(shapes, extra.update)
        save({})
    for name, value in found.items():
        print(f"{name}: {value:.4g}")
    return 0 if report_goals(found, goals) or not arguments.check else 1


if __name__ == "__main__":
    raise SystemExit(main())
