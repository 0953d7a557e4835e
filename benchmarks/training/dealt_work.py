"""What dealing to two processes can gain: CPU seconds for all rows, beside those for the larger half.

python -m benchmarks dealt_work --check                                                  # `tiny-cpu`
python -m benchmarks dealt_work --encoder ../e5 --llm ../smollm2-135m --steps 6 --check  # stage 1 with models from disk

One process with one thread computes both, in turns. CPU seconds hardly depend on how busy the other cores are, so this needs no
idle machine. It leaves out the exchange of gradients, the start of the processes, and what each process does for all rows
(tokens of a pool, the rows of the next steps). `several_processes` measures real runs, on idle cores.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks.shared.result_files import keep, report_goals
from benchmarks.training.cpu_stage_speed import settings_for
from lilift.data.batches.row_dealing import deal_rows
from lilift.data.batches.step_grouping import iterate_steps
from lilift.data.prepare import prepare
from lilift.data.prepared_data import load_prepared
from lilift.data.stage_rows import align_rows
from lilift.evaluate.benchmarks.benchmark import Benchmark, Question, load_benchmark
from lilift.evaluate.dealt.question_shares import deal_questions
from lilift.evaluate.language_evaluation import LanguageEvaluation
from lilift.memory.guard import OutOfMemoryGuard
from lilift.model.assemble_bridge import load_bridge
from lilift.model.bridge import BridgedModel
from lilift.phases.answering.systems import responder_for, tokenisation_for
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import BenchmarkSettings, Recipe
from lilift.train.randomness import deterministic
from lilift.train.stages import step_plan
from lilift.train.step import compute_gradients

STAGE, ANSWERS = (
    "stage 1, CPU seconds of all rows to those of half",
    "evaluation, CPU seconds of all questions to those of half",
)
GOALS = {STAGE: ("at least", 1.8), ANSWERS: ("at least", 1.8)}
WARM_UP = 3


def seconds_of(work: Callable[[], object]) -> float:
    """CPU seconds of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def measure_stage(recipe: Recipe, folder: Path, steps: int) -> list[tuple[float, float]]:
    """CPU seconds of steps of stage 1: all rows, and the larger of two shares."""
    prepare(recipe, folder)
    bridge = load_bridge(recipe, device="cpu", to_train=True)
    bridge.train_only("alignment")
    bridge.train()
    rows = align_rows(load_prepared(folder), recipe, tokenisation_for(bridge, recipe, None))
    plan = step_plan(recipe.align, recipe.seed, bridge.alignment.shape, has_llm_bos=bridge.tokens.bos is not None)
    parameters = [parameter for parameter in bridge.parameters() if parameter.requires_grad]
    guard = OutOfMemoryGuard(print)
    found = []
    with deterministic(torch.device("cpu")):
        for step in itertools.islice(iterate_steps(rows, plan), steps + WARM_UP):
            shares = deal_rows(step.micro_batches, 2, plan.packed_length)
            share = max(shares, key=lambda share: sum(plan.packed_length(row) for rows in share for row in rows))

            def gradients(micro_batches: Sequence[Sequence[object]], tokens: int = step.loss_tokens) -> None:
                compute_gradients(
                    bridge,
                    micro_batches,
                    parameters,
                    loss_tokens=tokens,
                    max_grad_norm=1.0,
                    guard=guard,  # type: ignore[arg-type]
                )
                bridge.zero_grad(set_to_none=True)

            found.append((seconds_of(lambda: gradients(step.micro_batches)), seconds_of(lambda: gradients(share))))  # noqa: B023
    return found[WARM_UP:]


def measure_answers(recipe: Recipe, questions: int, rounds: int) -> list[tuple[float, float]]:
    """CPU seconds of an evaluation with the untrained model: all questions, and the slower of two shares."""
    bridge: BridgedModel = load_bridge(recipe, device="cpu")
    responder = responder_for(bridge, recipe, None, recipe.evaluate)
    codes = ("en", *recipe.languages)
    benchmarks = [load_benchmark(BenchmarkSettings(name="world", limit=questions), code) for code in codes]

    def answer(dealt: Sequence[Sequence[Question]]) -> None:
        for benchmark, own in zip(benchmarks, dealt, strict=True):
            if own:
                run = LanguageEvaluation(responder, benchmark, lambda *_lines: None, 1)
                run.pending = list(own)
                for _ in run.answer_pending(64):
                    pass

    whole, shares = (deal_questions([_questions(one) for one in benchmarks], count) for count in (1, 2))
    answer([own[:4] for own in whole[0]])
    return [
        (seconds_of(lambda: answer(whole[0])), max(seconds_of(lambda own=share: answer(own)) for share in shares))  # type: ignore[misc]
        for _ in range(rounds)
    ]


def _questions(benchmark: Benchmark) -> Sequence[Question]:
    return benchmark.questions


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the CPU seconds of all rows with those of half of them.")
    parser.add_argument("--encoder", type=Path, help="a folder with an encoder, instead of the recipe's")
    parser.add_argument("--llm", type=Path, help="a folder with an LLM; then lilift measures stage 1 alone")
    parser.add_argument("--steps", type=int, default=40, help="optimizer steps of stage 1")
    parser.add_argument("--questions", type=int, default=100, help="questions of each language, as in the recipe")
    parser.add_argument("--rounds", type=int, default=3, help="evaluations")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    on_disk = arguments.encoder is not None and arguments.llm is not None
    models = settings_for(arguments.encoder.resolve(), arguments.llm.resolve()) if on_disk else []
    recipe = load_recipe("tiny-cpu", ["data.instructions.limit=2000", *models])
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as temporary:
        stage = measure_stage(recipe, Path(temporary), arguments.steps)
    summary = {
        STAGE: round(statistics.median(all_rows / half for all_rows, half in stage), 3),
        "stage 1, CPU seconds of a step": round(statistics.median(all_rows for all_rows, _ in stage), 4),
    }
    content = {"goals": GOALS, "summary": summary, "stage 1": stage, "steps": arguments.steps}
    if not on_disk:
        answers = measure_answers(recipe, arguments.questions, arguments.rounds)
        summary[ANSWERS] = round(statistics.median(all_rows / half for all_rows, half in answers), 3)
        summary["evaluation, CPU seconds"] = round(statistics.median(all_rows for all_rows, _ in answers), 2)
        content |= {"evaluation": answers, "questions": arguments.questions}
    goals = {name: goal for name, goal in GOALS.items() if name in summary}
    keep("dealt_work-models" if on_disk else "dealt_work", content | {"goals": goals, "load before": load, "threads": 1})
    for name, value in summary.items():
        print(f"{value:10.4g}  {name}")
    return 0 if report_goals(summary, goals) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
