"""Compare the planned with the measured GPU memory of both training stages and of evaluation, with random weights.

python -m benchmarks card_memory --check                          # a GPU plays a 24 GB card
python -m benchmarks card_memory --device cpu --recipes tiny-cpu  # a rehearsal: it is small, and its figures mean nothing

The models have the shapes of real ones. A second process holds the rest of a larger card, and torch's allocator gets what the
plan allows it. For each recipe the script then measures:

- the peak that torch reserves in every phase, beside the planned peak, and tokens a second. A stage first takes steps of its
  heaviest micro-batches, then of unequal ones, which leave holes between tensors as in a run;
- the same step of stage 2 with transformers, peft and bitsandbytes, written as their documentation shows;
- a plan that is 15% too large. lilift must refuse it. Run all the same, it must run out of memory, split its batch, and finish.

It prints each part as it begins and ends, and writes the JSON after each part, so that nothing is lost when time ends.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.memory.card_phases import Say, evaluation, outside_mib, plain_step, stage, too_large
from benchmarks.memory.progress_lines import ProgressLines
from benchmarks.memory.random_models import random_bridge
from benchmarks.shared.result_files import keep, report_goals
from lilift.memory.device import Device, cap_memory, find_device
from lilift.memory.guard import free_memory
from lilift.memory.model_configurations import load_models
from lilift.memory.planned_card import CUDA_CONTEXT_BYTES, PlannedCard, limited_card, planned_card
from lilift.model.assemble_bridge import attach_lora
from lilift.phases.rehearsals import plan_recipe, require_plan_fits
from lilift.recipe.errors import RecipeError
from lilift.recipe.load import load_recipe

RECIPES = ("llama-7b-24gb", "llama3.1-8b-24gb", "llama-13b-24gb")
HOLDS = """
import sys, torch
held = torch.empty(int(sys.argv[1]), dtype=torch.uint8, device="cuda")
print("held", flush=True)
input()
"""
ANSWER = 32  # tokens of an answer, also in the plan
LONGEST_RECIPE = 45  # seconds; a recipe starts only if this much time is left
LONGEST_PART = 12  # seconds; a part of a recipe starts only if this much time is left
GOALS = {
    "most reserved beyond the plan, share": ("at most", 0.0),
    "furthest allocated peak from the plan's tensors, share": ("at most", 0.03),
    "furthest reserved peak from the plan, share": ("at most", 0.05),
    "plans 15% too large that were refused, share": ("at least", 1.0),
    "steps 15% too large that went on after running out, share": ("at least", 1.0),
    "stage 2 beside transformers, peft and bitsandbytes, tokens a second": ("at least", 1.0),
}


@contextlib.contextmanager
def ballast(card: PlannedCard, device: Device) -> Iterator[None]:
    """Hold memory in a second process, so that only as much is free as on `card`."""
    if device.kind != "cuda":
        yield
        return
    free, _ = torch.cuda.mem_get_info(0)
    held = free - card.allocatable_bytes - CUDA_CONTEXT_BYTES  # its own context takes memory too
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(max(0, held))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        if process.stdout.readline().strip() != "held":
            raise RuntimeError("the second process could not hold the rest of the card's memory")
        yield
    finally:
        process.kill()
        process.wait()


def one_recipe(
    name: str, overrides: Sequence[str], limit: str, device: Device, say: Say, keep_part: Callable[[str, Any], bool]
) -> None:
    """Everything for one recipe. `keep_part` keeps a part's figures, and returns whether there is time for another one."""
    where = device.torch_device
    recipe = load_recipe(name, [f"evaluate.max_new_tokens={ANSWER}", *overrides])
    card = planned_card("cpu") if device.kind == "cpu" else limited_card(limit)
    say(f"{name}: the plan")
    plan = plan_recipe(recipe, card=card)
    if device.kind == "cpu":  # all of the host's memory is far too much for a rehearsal
        card = replace(card, usable_bytes=plan.peak_bytes)
        plan = replace(plan, card=card)
    require_plan_fits(plan)
    say(f"{name}: random weights")
    models = load_models(recipe)
    bridge = random_bridge(plan.recipe, models, where)
    if device.kind == "cuda":
        cap_memory(card.allocatable_bytes, device)
    keep_part("changes", [change.as_dict() for change in plan.changes])
    keep_part("outside_mib", outside_mib(where))

    def stage_2() -> Any:
        attach_lora(bridge, plan.recipe.transfer.lora)
        return stage(bridge, plan, "transfer", where, say)

    parts: dict[str, Callable[[], Any]] = {
        "align": lambda: stage(bridge, plan, "align", where, say),
        "transfer": stage_2,
        "evaluate": lambda: evaluation(bridge, plan, where, say),
        "too large": lambda: too_large(bridge, plan, where, say),
        "plain": lambda: plain_step(bridge, plan, where, say),
    }
    with ballast(card, device):
        for part, work in parts.items():
            found = work()
            free_memory()
            if not keep_part(part, found):
                break
    if device.kind == "cuda":
        torch.cuda.set_per_process_memory_fraction(1.0)


def summary_of(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The figures that have goals; empty for an empty table."""
    phases = [one[name] for one in found.values() for name in ("align", "transfer", "evaluate") if name in one]
    bold = [one["too large"] for one in found.values() if "too large" in one]
    plain = [one for one in found.values() if "tokens_per_second" in one.get("plain", {})]
    if not phases:
        return {}
    reserved = [phase["reserved_mib"] / phase["planned_mib"] - 1 for phase in phases]
    allocated = [phase["allocated_mib"] / phase["planned_tensors_mib"] - 1 for phase in phases]
    summary = {
        "most reserved beyond the plan, share": max(reserved),
        "furthest allocated peak from the plan's tensors, share": max(map(abs, allocated)),
        "furthest reserved peak from the plan, share": max(map(abs, reserved)),
    }
    if bold:
        went_on = sum(one["failures"] > 0 and one["tokens"] > 0 for one in bold)
        summary["plans 15% too large that were refused, share"] = sum(one["refused"] for one in bold) / len(bold)
        summary["steps 15% too large that went on after running out, share"] = went_on / len(bold)
    if plain:
        ratios = [one["transfer"]["tokens_per_second"] / one["plain"]["tokens_per_second"] for one in plain]
        summary["stage 2 beside transformers, peft and bitsandbytes, tokens a second"] = min(ratios)
    return summary


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare planned with measured memory on a card.")
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"], help="cpu: rehearse")
    parser.add_argument("--limit", default="24gb", help="memory of the card that a larger card plays")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parser.add_argument("--set", nargs="+", default=[], dest="overrides", metavar="A.B=C", help="change all recipes")
    parser.add_argument("--seconds", type=float, default=math.inf, help="start nothing more when this time is nearly over")
    parser.add_argument("--output", type=Path, help="write the JSON here instead of to benchmarks/results/card_memory.json")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("this machine has no CUDA GPU; rehearse without one with --device cpu", file=sys.stderr)
        return 1
    device = find_device() if arguments.device == "cuda" else Device("cpu", "CPU", 0, 0)
    found: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}

    def save() -> None:
        content = {"goals": GOALS, "summary": summary_of(found), "recipes": found, "left_out": left_out}
        keep("card_memory", content, arguments.output)

    with ProgressLines() as progress:
        for name in arguments.recipes:
            if arguments.seconds - progress.seconds < min(LONGEST_RECIPE, arguments.seconds / 2):
                left_out[name] = "there was no time left"
                continue

            def keep_part(part: str, figures: Any, recipe: str = name) -> bool:
                progress.say(f"{recipe}, {part}: {figures}")
                found.setdefault(recipe, {})[part] = figures
                save()
                enough = arguments.seconds - progress.seconds >= LONGEST_PART
                if not enough:
                    left_out[recipe] = f"there was no time left after {part!r}"
                return enough

            try:
                one_recipe(name, arguments.overrides, arguments.limit, device, progress.say, keep_part)
            except (RuntimeError, MemoryError, RecipeError) as failure:  # the results of the others are still useful
                left_out[name] = f"{type(failure).__name__}: {failure}"
                progress.say(f"{name}: {left_out[name]}")
            gc.collect()
            free_memory()
        save()
    met = report_goals(summary_of(found), GOALS) and not left_out
    return 0 if met or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
