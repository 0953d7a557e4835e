"""Measure what stage 1 adds to accuracy: run `tiny-cpu` with and without it, over several seeds.

    python -m benchmarks method_lift --seeds 0 1 2 --check
    python -m benchmarks method_lift --seeds 0 --set alignment.normalize=false --set align.max_steps=2500 \\
        --name method_lift_paper_layer
    python -m benchmarks method_lift --recipe examples/demo.yaml --seeds 0 --name demo

Prints a table and writes `benchmarks/results/method_lift.json`. `--check` exits with 1 unless all of this holds over the seeds.
With both stages, the mean accuracy on the held-out questions in the low-resource languages is at least 60%, and 40 points above
the same run without stage 1. English stays at 90% or more. Before training, nearly no answer is right.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.shared.result_files import keep, report_goals
from lilift.data.texts.examples import Row
from lilift.model.assemble_bridge import SAMPLE_TEXT, load_bridge
from lilift.model.bridge_files import load_part
from lilift.phases.run import RunOptions, run_recipe
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import Recipe

GOALS = {
    "both stages": ("at least", 0.60),
    "lift over no stage 1": ("at least", 0.40),
    "English": ("at least", 0.90),
    "before training": ("at most", 0.05),
}


def measure(name: str, seed: int, overrides: list[str], folder: Path) -> dict[str, Any]:
    """Run the recipe once; return accuracy by system and language."""
    recipe = load_recipe(name, [f"seed={seed}", *overrides])
    started = time.process_time()
    run = run_recipe(recipe, folder / f"seed-{seed}", RunOptions(resume=True))
    systems = {system.system: system.benchmarks[0].languages for system in run.scores}
    return {
        "seed": seed,
        "core_seconds": round(time.process_time() - started, 1),
        "seconds": round(sum(phase["seconds"] for phase in run.measured.values()), 1),
        "peak_mib": max(phase["peak_mib"] for phase in run.measured.values()),
        "questions_per_language": systems["lifted"][0].questions,
        "soft_token_size": round(soft_token_size(recipe, run.path), 2),
        "accuracy": {name: {score.language: score.accuracy for score in scores} for name, scores in systems.items()},
        "measured": run.measured,
    }


def soft_token_size(recipe: Recipe, run: Path) -> float:
    """The size of the soft tokens of an ordinary text after stage 1, relative to the LLM's embeddings of it."""
    bridge = load_bridge(recipe, device="cpu")
    load_part(bridge, "alignment", run / "align" / "alignment")
    source = bridge.encoder.tokenizer.encode(SAMPLE_TEXT, bridge.encoder.max_positions)
    text = bridge.llm_tokenizer(SAMPLE_TEXT, add_special_tokens=False).input_ids
    batch = bridge.collate([Row(tuple(source), tuple(text), (bridge.tokens.eos,))])
    with torch.no_grad():
        inputs = bridge.embed(batch)[0].flatten(0, 1)  # [T, D]
    soft, embeddings = (inputs[slots].square().mean().sqrt() for slots in (batch.state_slots, batch.text_slots))
    return float(soft / embeddings)


def foreign_mean(by_language: dict[str, float]) -> float:
    """Mean accuracy over the languages that are not English."""
    return statistics.fmean(value for code, value in by_language.items() if code != "en")


def summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Means over the seeds."""
    foreign = {
        system: statistics.fmean(foreign_mean(run["accuracy"][system]) for run in runs) for system in runs[0]["accuracy"]
    }
    return {
        "both stages": foreign["lifted"],
        "without stage 1": foreign["control"],
        "lift over no stage 1": foreign["lifted"] - foreign["control"],
        "English": statistics.fmean(run["accuracy"]["lifted"]["en"] for run in runs),
        "before training": foreign["untrained"],
    }


def print_table(runs: list[dict[str, Any]]) -> None:
    codes = list(runs[0]["accuracy"]["lifted"])
    print(f"\n{'seed':<6}{'system':<12}" + "".join(f"{code:>7}" for code in codes) + "   mean without English, %")
    for run in runs:
        for system, by_language in run["accuracy"].items():
            cells = "".join(f"{100 * by_language[code]:7.0f}" for code in codes)
            print(f"{run['seed']:<6}{system:<12}{cells}{100 * foreign_mean(by_language):10.1f}")
    print()


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what stage 1 adds, over several seeds.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipe", default="tiny-cpu", help="the recipe to run (default: tiny-cpu)")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="A.B=C")
    parser.add_argument("--folder", type=Path, help="keep the runs here (default: a temporary folder)")
    parser.add_argument("--name", default="method_lift", help="name of the result")
    parser.add_argument("--output", type=Path, help="write the result here")
    parser.add_argument("--note", default="", help="a note on the conditions, written into the result")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        runs = [
            measure(arguments.recipe, seed, arguments.overrides, arguments.folder or Path(temporary))
            for seed in arguments.seeds
        ]
    found = summary(runs)
    print_table(runs)
    recipe = load_recipe(arguments.recipe, arguments.overrides).as_dict()
    keep(
        arguments.name,
        {"note": arguments.note, "recipe": recipe, "goals": GOALS, "summary": found, "runs": runs},
        arguments.output,
    )
    return 0 if report_goals(found, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
