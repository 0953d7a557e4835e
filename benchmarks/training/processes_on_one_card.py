"""A smoke test: two processes that share one card compute the gradients and the answers of one process.

python -m benchmarks processes_on_one_card --check
python -m benchmarks processes_on_one_card --device cpu     # a rehearsal

NCCL wants a card for each process, so here gloo carries the gradients through host memory. Everything else is what a run on two
cards does: dealt rows, summed gradients, agreement on the step, dealt questions. It uses the stand-ins, and says nothing about
speed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from benchmarks.shared.result_files import keep, report_goals
from lilift.data.batches.row_dealing import deal_rows
from lilift.data.texts.examples import Row, Task
from lilift.data.world import test_problems
from lilift.evaluate.benchmarks.benchmark import load_benchmark
from lilift.evaluate.dealt.answer_exchange import answer_share
from lilift.evaluate.evaluator import evaluate
from lilift.memory.guard import OutOfMemoryGuard
from lilift.model.assemble_bridge import load_bridge
from lilift.model.bridge import BridgedModel
from lilift.phases.answering.systems import responder_for, tokenisation_for
from lilift.processes.joined_processes import ALONE, Processes
from lilift.processes.joining import joined
from lilift.processes.same_weights import require_same_weights, weights_of
from lilift.processes.step_exchange import StepExchange
from lilift.processes.torchrun_environment import Started
from lilift.recipe.interrupt import polite_interrupts
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import BenchmarkSettings, Recipe
from lilift.train.step import compute_gradients

SIZE = 2
ROWS, MICRO_BATCH = 36, 8
QUESTIONS = 20
GOALS = {
    "difference of gradients, relative L2": ("at most", 1e-4),
    "difference of losses, share": ("at most", 1e-5),
    "answer files that differ": ("at most", 0),
}


def some_rows(bridge: BridgedModel, recipe: Recipe) -> list[Row]:
    tasks = [Task(one.id, one.question, one.question, "reconstruct") for one in test_problems("en", ROWS, 0)]
    return [row for row in tokenisation_for(bridge, recipe, None).rows(tasks) if row is not None]


def gradients(bridge: BridgedModel, recipe: Recipe, processes: Processes) -> tuple[float, torch.Tensor]:
    """Loss and gradient of a step, alone or together."""
    bridge.train_only("alignment")
    bridge.train()
    bridge.zero_grad(set_to_none=True)
    parameters = [parameter for parameter in bridge.parameters() if parameter.requires_grad]
    rows = some_rows(bridge, recipe)
    micro_batches: Any = [rows[start : start + MICRO_BATCH] for start in range(0, len(rows), MICRO_BATCH)]
    exchange = None
    if not processes.alone:
        exchange = StepExchange(processes, parameters)
        micro_batches = deal_rows(micro_batches, SIZE, lambda row: len(row.encoder_ids))[processes.rank]
    outcome = compute_gradients(
        bridge,
        micro_batches,
        parameters,
        loss_tokens=sum(len(row.response_ids) for row in rows),
        max_grad_norm=1e9,
        guard=OutOfMemoryGuard(print),
        exchange=exchange,
    )
    found = torch.cat([parameter.grad.double().cpu().flatten() for parameter in parameters if parameter.grad is not None])
    bridge.train(False)
    return outcome.loss, found


def answers(bridge: BridgedModel, recipe: Recipe, processes: Processes, folder: Path) -> None:
    """Answer some questions, alone or together, into a folder."""
    benchmarks = [load_benchmark(BenchmarkSettings(name="world", limit=QUESTIONS), code) for code in ("en", "om", "fj")]
    responder = responder_for(bridge, recipe, None, recipe.evaluate)
    with polite_interrupts() as interruption:
        if processes.is_first:
            evaluate(responder, benchmarks, folder, interruption=interruption, processes=processes)
        else:
            answer_share(processes, responder, benchmarks, interruption=interruption)


def take_part(rank: int, device: str, folder: Path) -> None:
    """What each of the processes does; the first one also does everything alone, and writes what it found."""
    torch.set_num_threads(1)
    recipe = load_recipe("tiny-cpu", ["evaluate.max_new_tokens=16"])
    store = dist.FileStore(str(folder / "store"), SIZE)  # type: ignore[attr-defined]
    with joined(Started(rank, SIZE, rank, SIZE), device="cpu", store=store) as processes:
        bridge = load_bridge(recipe, device=device, to_train=True)
        require_same_weights(processes, weights_of(bridge), "stand-ins")
        loss, together = gradients(bridge, recipe, processes)
        answers(bridge, recipe, processes, folder / "together")
        if not processes.is_first:
            return
        alone_loss, alone = gradients(bridge, recipe, ALONE)
        answers(bridge, recipe, ALONE, folder / "alone")
        files = sorted((folder / "alone").rglob("om.jsonl")) + sorted((folder / "alone").rglob("[ef]*.jsonl"))
        other = [folder / "together" / path.relative_to(folder / "alone") for path in files]
        summary = {
            "difference of gradients, relative L2": float((together - alone).norm() / alone.norm()),
            "difference of losses, share": abs(loss / alone_loss - 1),
            "answer files that differ": sum(
                one.read_bytes() != two.read_bytes() for one, two in zip(files, other, strict=True)
            ),
        }
        assert len(files) == 3
        (folder / "found.json").write_text(json.dumps(summary), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare two processes on one card with one process.")
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    parser.add_argument("--output", type=Path, help="file for the JSON")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("this machine has no CUDA GPU; rehearse with --device cpu")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
        started = [
            context.Process(target=take_part, args=(rank, arguments.device, folder), daemon=True) for rank in range(SIZE)
        ]
        for process in started:
            process.start()
        for process in started:
            process.join()
        codes = [process.exitcode for process in started]
        if any(codes) or not (folder / "found.json").exists():
            print(f"a process failed: exit codes {codes}", file=sys.stderr)
            return 1
        summary: dict[str, float] = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    keep("processes_on_one_card", {"goals": GOALS, "summary": summary, "device": arguments.device}, arguments.output)
    for name, value in summary.items():
        print(f"{value:10.3g}  {name}")
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
