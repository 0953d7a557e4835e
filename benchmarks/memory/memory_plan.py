"""Compute the memory that nine LLMs need for training and evaluation, with the planner alone: no GPU, no download.

python -m benchmarks memory_plan --check

A micro-batch has 2,048 tokens (four rows of 512, of which 128 go through the encoder). The encoder is mT5-xl's in bfloat16.
LoRA has rank 16 on all linear layers, with 8-bit Adam and gradient checkpointing. `align`, `transfer` and `evaluate`
(generation, with its key-value cache) are the peak memory of torch's tensors; context, desktop and the allocator's own share
come on top. `most tokens` is the largest stage-2 micro-batch of such rows that fits on a card with them, `most tokens, cached`
the same without the encoder on the card, and `most tokens, offload` with the checkpoints in host memory. `recipes` has the same
for the heaviest rows of shipped recipes. `before the lean layers` keeps the table of the build before them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

from transformers import AutoConfig

from benchmarks.memory.largest_batch import BatchesOfRecipe, batches_of_shipped, with_settings
from benchmarks.shared.result_files import FOLDER, keep, report_goals
from lilift.evaluate.evaluation_rehearsal import rehearsal as rehearse_evaluation
from lilift.memory.model_configurations import load_config, load_models
from lilift.memory.simulation.simulate import Models, Rehearsal, example_row, simulate
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import Recipe
from lilift.train.stage_rehearsal import rehearsal as rehearse_stage

GIB = 2**30
QWEN = {"model_type": "qwen2", "vocab_size": 151936, "num_key_value_heads": 2, "tie_word_embeddings": True}
# The LLMs that no recipe uses. lilift's recipes give the others.
OTHERS = {
    "Qwen2.5-0.5B": QWEN | {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14},
    "Llama-3.2-1B": {
        "model_type": "llama",
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "tie_word_embeddings": True,
    },
}
KNOWN = (
    "Qwen/Qwen2.5-1.5B",
    "meta-llama/Llama-3.2-3B",
    "meta-llama/Llama-2-7b-hf",
    "mistralai/Mistral-7B-v0.1",
    "Qwen/Qwen2.5-7B",
    "meta-llama/Llama-3.1-8B",
    "meta-llama/Llama-2-13b-hf",
)
ROWS, SOURCE, WHOLE = 4, 128, 512
CARDS = ("8gb", "12gb", "16gb", "24gb")
# LLMs whose checkpoints also go to host memory, and recipes whose largest micro-batch is looked for.
OFFLOADED = ("Llama-2-7b-hf", "Llama-3.1-8B", "Llama-2-13b-hf")
RECIPES = ("llama3.1-8b-24gb", "llama-13b-24gb")
GOALS = {
    "largest difference between extrapolated and whole Llama-2-7B, bytes": ("at most", 0),
    "slowest instant plan, CPU seconds without starting Python": ("at most", 0.5),
    "CPU seconds of a 7B plan on two cores, from start to end": ("at most", 15.0),
    "MiB of host memory of a 7B plan": ("at most", 2048.0),
    "most tokens, llama3.1-8b-24gb": ("at least", 34_000),
    "most tokens, llama3.1-8b-24gb with offload": ("at least", 90_000),
    "most tokens, llama-13b-24gb": ("at least", 20_000),
}


def rows(count: int) -> list[Any]:
    return [example_row(source=SOURCE, prompt=0, response=WHOLE - SOURCE - 3)] * count


def phases(recipe: Recipe, count: int) -> dict[str, Rehearsal]:
    align, transfer = (rehearse_stage(recipe, stage, rows(count)) for stage in recipe.stages)
    return {"align": align, "transfer": transfer, "evaluate": rehearse_evaluation(rows(count))}


def measure(recipe: Recipe, models: Models, name: str) -> dict[str, Any]:
    """One row of the table, in GiB and tokens."""
    found = {
        phase: simulate(recipe, models, rehearsal, device="cuda", expandable=True)
        for phase, rehearsal in phases(recipe, ROWS).items()
    }
    batches, cached = (
        BatchesOfRecipe(with_settings(recipe, placement=placement), models, rows, WHOLE)
        for placement in ("resident", "cached-ram")
    )
    line = {
        "llm": found["align"].parts["llm"] / GIB,
        **{phase: simulation.total / GIB for phase, simulation in found.items()},
        "GiB per 1000 tokens": _per_1000(batches),
        "most tokens": {card: batches.most_tokens(card) for card in CARDS},
        "most tokens, cached": {card: cached.most_tokens(card) for card in CARDS},
    }
    if name in OFFLOADED:
        offloaded = BatchesOfRecipe(with_settings(recipe, offload=True), models, rows, WHOLE)
        line |= {"GiB per 1000 tokens, offload": _per_1000(offloaded)}
        line |= {"most tokens, offload": {card: offloaded.most_tokens(card) for card in CARDS[-1:]}}
    return line


def _per_1000(batches: BatchesOfRecipe) -> float:
    return 1000 * batches.bytes_of_row / batches.row_tokens / GIB


def measure_recipe(name: str) -> dict[str, int]:
    """Tokens of the largest stage-2 micro-batch of a shipped recipe on its card, as it is and with other settings."""
    recipe = load_recipe(name)
    models = load_models(recipe)
    kinds = {
        "as it is": recipe,
        "cached-ram": with_settings(recipe, placement="cached-ram"),
        "offload": with_settings(recipe, offload=True),
        "cached-ram, offload": with_settings(recipe, placement="cached-ram", offload=True),
    }
    return {kind: batches_of_shipped(one, models).most_tokens(recipe.card) for kind, one in kinds.items()}


def difference_to_all_layers(recipe: Recipe, models: Models) -> int:
    """The largest difference in bytes between an estimate from two and four layers and one from all layers."""
    return max(
        abs(
            simulate(recipe, models, rehearsal, device="cuda", expandable=True).total
            - simulate(recipe, models, rehearsal, device="cuda", expandable=True, exact=True).total
        )
        for rehearsal in phases(recipe, ROWS).values()
    )


def cost_of(*command: str) -> tuple[float, float]:
    """CPU seconds and MiB of host memory that a command takes."""
    script = (
        "import resource, sys, time; from lilift.cli.app import main; began = time.process_time(); main(sys.argv[1:]); "
        "used = resource.getrusage(resource.RUSAGE_SELF); "
        "print(used.ru_utime + used.ru_stime, time.process_time() - began, used.ru_maxrss / 1024, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, check=True)
    whole, without_start, memory = (float(figure) for figure in done.stderr.splitlines()[-1].split())
    return (without_start if "--instant" in command else whole), memory


def main() -> int:
    parser = argparse.ArgumentParser(description="Compute the memory that nine LLMs need.")
    parser.add_argument("--keep", action="store_true", help="keep the LLMs in the result file, and write it after each one")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    arguments = parser.parse_args()
    began = time.process_time()
    recipe = load_recipe("llama-7b-24gb")
    encoder = load_config(recipe.encoder.model, None)
    configs = {name: AutoConfig.for_model(**fields) for name, fields in OTHERS.items()}
    configs |= {name.split("/")[1]: load_config(name, None) for name in KNOWN}
    kept = json.loads((FOLDER / "memory_plan.json").read_text(encoding="utf-8"))
    earlier = kept.get("before the lean layers", kept["table"])
    table = kept["table"] if arguments.keep and "before the lean layers" in kept else {}
    recipes = {name: measure_recipe(name) for name in RECIPES}
    print(recipes, flush=True)
    for name, config in sorted(configs.items(), key=lambda entry: entry[0] not in OFFLOADED):
        if name in table:
            continue
        table[name] = measure(recipe, (config, encoder), name)
        if arguments.keep:
            unfinished = {"table": table, "recipes": recipes, "before the lean layers": earlier}
            keep("memory_plan", {"goals": GOALS, "summary": {}, **unfinished})
        line = {key: round(value, 2) if isinstance(value, float) else value for key, value in table[name].items()}
        print(name, line, flush=True)
    table = {name: table[name] for name in configs}
    plan_seconds, plan_memory = cost_of("recipe", "plan", "llama-7b-24gb")
    summary = {
        "largest difference between extrapolated and whole Llama-2-7B, bytes": difference_to_all_layers(
            recipe, (configs["Llama-2-7b-hf"], encoder)
        ),
        "slowest instant plan, CPU seconds without starting Python": cost_of("recipe", "plan", "llama-7b-24gb", "--instant")[0],
        "CPU seconds of a 7B plan on two cores, from start to end": plan_seconds,
        "MiB of host memory of a 7B plan": plan_memory,
        "most tokens, llama3.1-8b-24gb": recipes["llama3.1-8b-24gb"]["as it is"],
        "most tokens, llama3.1-8b-24gb with offload": recipes["llama3.1-8b-24gb"]["offload"],
        "most tokens, llama-13b-24gb": recipes["llama-13b-24gb"]["as it is"],
    }
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    spent = {"cpu_seconds": time.process_time() - began, "peak_mib": used}
    found = {"table": table, "recipes": recipes, "before the lean layers": earlier, "this_script": spent}
    keep("memory_plan", {"goals": GOALS, "summary": summary, **found})
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
