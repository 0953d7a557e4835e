"""Compute the memory that nine LLMs need for training and evaluation, with the planner alone: no GPU, no download.

python -m benchmarks memory_plan --check

A micro-batch has 2,048 tokens (four rows of 512, of which 128 go through the encoder). The encoder is mT5-xl's in bfloat16.
LoRA has rank 16 on all linear layers, with 8-bit Adam and gradient checkpointing. `align`, `transfer` and `evaluate`
(generation, with its key-value cache) are the peak memory of torch's tensors; context, desktop and the allocator's own share
come on top. `most tokens` is the largest stage-2 micro-batch of such rows that fits on a card with them, and `most tokens,
cached` the same without the encoder on the card.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from typing import Any

from transformers import AutoConfig

from benchmarks.shared.result_files import keep, report_goals
from lilift.evaluate.evaluation_rehearsal import rehearsal as rehearse_evaluation
from lilift.memory.model_configurations import load_config
from lilift.memory.phase_plan import phase_on_card
from lilift.memory.plan import overhead_bytes
from lilift.memory.planned_card import planned_card
from lilift.memory.simulation.simulate import Models, Rehearsal, Simulation, example_row, simulate
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
GOALS = {
    "largest difference between extrapolated and whole Llama-2-7B, bytes": ("at most", 0),
    "slowest instant plan, CPU seconds without starting Python": ("at most", 0.5),
    "CPU seconds of a 7B plan on two cores, from start to end": ("at most", 15.0),
    "MiB of host memory of a 7B plan": ("at most", 2048.0),
}


def rows(count: int) -> list[Any]:
    return [example_row(source=SOURCE, prompt=0, response=WHOLE - SOURCE - 3)] * count


def phases(recipe: Recipe, count: int) -> dict[str, Rehearsal]:
    align, transfer = (rehearse_stage(recipe, stage, rows(count)) for stage in recipe.stages)
    return {"align": align, "transfer": transfer, "evaluate": rehearse_evaluation(rows(count))}


def measure(recipe: Recipe, models: Models) -> dict[str, Any]:
    """One row of the table, in GiB and tokens."""
    found: dict[str, Simulation] = {}
    for name, rehearsal in phases(recipe, ROWS).items():
        found[name] = simulate(recipe, models, rehearsal, device="cuda", expandable=True)
    # Between larger batches, because from about 2,700 tokens on the MLP computes in tiles, which takes some memory once.
    larger, largest = (
        simulate(recipe, models, phases(recipe, count * ROWS)["transfer"], device="cuda", expandable=True) for count in (2, 4)
    )
    a_row = (largest.total - larger.total) / (2 * ROWS)
    fixed = found["transfer"].total - ROWS * a_row
    fixed_without_encoder = fixed - found["transfer"].parts["encoder"]
    cached = recipe.model_copy(update={"encoder": recipe.encoder.model_copy(update={"placement": "cached-ram"})})
    return {
        "llm": found["align"].parts["llm"] / GIB,
        **{name: simulation.total / GIB for name, simulation in found.items()},
        "GiB per 1000 tokens": 1000 * a_row / WHOLE / GIB,
        "most tokens": {card: WHOLE * most_rows(recipe, models, card, fixed, a_row) for card in CARDS},
        "most tokens, cached": {card: WHOLE * most_rows(cached, models, card, fixed_without_encoder, a_row) for card in CARDS},
    }


def most_rows(recipe: Recipe, models: Models, card_name: str, fixed: float, a_row: float) -> int:
    """Rows of the largest stage-2 micro-batch that fits on a card; `fixed` bytes and `a_row` bytes a row are a lower bound."""
    card = planned_card(card_name)
    room = card.usable_bytes - card.context_bytes
    count = int((room - fixed) // a_row)
    while count > 0:
        simulation = simulate(recipe, models, phases(recipe, count)["transfer"], device="cuda", expandable=True)
        plan = phase_on_card(card, "transfer", simulation.parts, overhead_bytes(simulation), rows=count, row_tokens=WHOLE)
        excess = plan.peak_bytes - card.usable_bytes
        if excess <= 0:
            return count
        count -= max(1, int(excess // a_row))
    return 0


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
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    arguments = parser.parse_args()
    began = time.process_time()
    recipe = load_recipe("llama-7b-24gb")
    encoder = load_config(recipe.encoder.model, None)
    configs = {name: AutoConfig.for_model(**fields) for name, fields in OTHERS.items()}
    configs |= {name.split("/")[1]: load_config(name, None) for name in KNOWN}
    table = {}
    for name, config in configs.items():
        table[name] = measure(recipe, (config, encoder))
        line = {key: round(value, 2) if isinstance(value, float) else value for key, value in table[name].items()}
        print(name, line, flush=True)
    plan_seconds, plan_memory = cost_of("recipe", "plan", "llama-7b-24gb")
    summary = {
        "largest difference between extrapolated and whole Llama-2-7B, bytes": difference_to_all_layers(
            recipe, (configs["Llama-2-7b-hf"], encoder)
        ),
        "slowest instant plan, CPU seconds without starting Python": cost_of("recipe", "plan", "llama-7b-24gb", "--instant")[0],
        "CPU seconds of a 7B plan on two cores, from start to end": plan_seconds,
        "MiB of host memory of a 7B plan": plan_memory,
    }
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    spent = {"cpu_seconds": time.process_time() - began, "peak_mib": used}
    keep("memory_plan", {"goals": GOALS, "summary": summary, "table": table, "this_script": spent})
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
