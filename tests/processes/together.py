"""What the processes of the tests do together; each writes what it found into a file of its own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lilift.data.batches.batching import Batch
from lilift.data.batches.row_dealing import deal_rows
from lilift.data.texts.examples import Row
from lilift.memory.guard import OutOfMemoryGuard
from lilift.model.assemble_bridge import load_bridge
from lilift.processes.joined_processes import Processes
from lilift.processes.joining import joined
from lilift.processes.same_weights import require_same_weights
from lilift.processes.start_checks import require_same_start, require_shared_folder
from lilift.processes.step_exchange import Report, StepExchange
from lilift.processes.torchrun_environment import Started
from lilift.recipe.errors import LiliftError
from lilift.recipe.interrupt import StoppedBySignal
from lilift.recipe.storage import write_json
from lilift.train.stages import run_stage
from lilift.train.step import compute_gradients
from lilift.train.training_progress import Silence, StepReport
from tests.processes.together_answers import answers, killed_answers
from tests.train import tiny_run

ROWS = [row for row in tiny_run.TinySource(24).rows(0, range(24)) if row is not None]
STEP = [ROWS[:9], ROWS[9:12], ROWS[12:20], ROWS[20:]]
STAGE = ("transfer.max_steps=8", "align.max_steps=8")


@dataclass
class Packed:
    """A batch of the small learner."""

    rows: Sequence[Row]

    @property
    def tokens(self) -> int:
        return sum(len(row.encoder_ids) + len(row.response_ids) for row in self.rows)

    def to(self, _device: torch.device) -> Packed:
        return self


class Words(nn.Module):
    """A learner of about a thousand weights: it predicts a row's response from the mean of its words."""

    def __init__(self, most_rows: int = 1000, factor: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.words, self.head = nn.Embedding(40, 16), nn.Linear(16, 40)
        self.unused = nn.Parameter(torch.ones(3))
        self.most_rows, self.factor = most_rows, factor

    def collate(self, rows: Sequence[Row]) -> Batch:
        return cast("Batch", Packed(rows))

    def padded_tokens(self, rows: Sequence[Row]) -> int:
        return len(rows) * max(map(length, rows))

    def loss(self, batch: Any, *, num_items: int | None = None) -> Tensor:
        if len(batch.rows) > self.most_rows:
            raise MemoryError
        total = torch.zeros(())
        for row in batch.rows:
            logits = self.head(self.words(torch.tensor(row.encoder_ids)).mean(0)).expand(len(row.response_ids), -1)
            total = total + nn.functional.cross_entropy(logits, torch.tensor(row.response_ids), reduction="sum")
        return self.factor * total / (num_items or 1)


def length(row: Row) -> int:
    return len(row.encoder_ids) + len(row.response_ids)


def step_of(processes: Processes | None, micro_batches: Sequence[Sequence[Row]], **settings: Any) -> dict[str, Any]:
    """One step: its gradients and numbers, and what the processes agreed on."""
    learner = Words(**settings)
    parameters = list(learner.parameters())
    guard = OutOfMemoryGuard(lambda _line: None)
    exchange = None
    tokens = sum(len(row.response_ids) for rows in micro_batches for row in rows)
    if processes is not None:
        exchange = StepExchange(processes, parameters, lambda: Report(stop=15 * processes.rank, budget=guard.budget))
        micro_batches = deal_rows(micro_batches, processes.size, length)[processes.rank]
    outcome = compute_gradients(
        learner, micro_batches, parameters, loss_tokens=tokens, max_grad_norm=0.01, guard=guard, exchange=exchange
    )
    agreed = exchange.agreed() if exchange is not None else None
    return {
        "gradients": [None if parameter.grad is None else parameter.grad.flatten().tolist() for parameter in parameters],
        "loss": outcome.loss,
        "norm": outcome.grad_norm,
        "tokens": outcome.tokens,
        "finite": outcome.finite,
        "rows": sum(map(len, micro_batches)),
        "budget": guard.budget,
        "agreed": None if agreed is None else [agreed.stop, agreed.budget],
    }


def steps(processes: Processes, _folder: Path, _models: Path) -> dict[str, Any]:
    """Steps of all kinds, and the checks at a start."""
    last = processes.rank == processes.size - 1
    found = {
        "plain": step_of(processes, STEP),
        "again": step_of(processes, STEP),
        "split": step_of(processes, STEP, most_rows=1 if last else 1000),
        "finite": step_of(processes, STEP, factor=float("nan") if last else 1.0)["finite"],
        "one row": step_of(processes, [ROWS[:1]]),
    }
    require_same_weights(processes, Words().named_parameters(), "here")
    changed = Words()
    if last:
        changed.head.bias.data[7] += 1e-7
    found["other weights"] = error_of(lambda: require_same_weights(processes, changed.named_parameters(), "here"))
    require_same_start(processes, "a", {"until": None})
    found["other recipe"] = error_of(lambda: require_same_start(processes, "b" if last else "a", {}))
    found["other options"] = error_of(lambda: require_same_start(processes, "a", {"until": "align" if last else None}))
    require_shared_folder(processes, _folder)
    found["left"] = sorted(path.name for path in _folder.glob("shared-*"))
    return found


def error_of(work: Callable[[], object]) -> str:
    try:
        work()
    except LiliftError as error:
        return str(error)
    return ""


class SignalAt(Silence):
    """Sends a signal to its own process after a step."""

    def __init__(self, step: int, number: int) -> None:
        self._step, self._number = step, number

    def step(self, report: StepReport) -> None:
        if report.step == self._step:
            os.kill(os.getpid(), self._number)


def train(processes: Processes, models: Path, folder: Path, stage: str, progress: Silence) -> str:
    """Train a stage of the tiny models; returns why it stopped."""
    recipe = tiny_run.make_recipe(models, *STAGE)
    bridge = load_bridge(recipe, device="cpu")
    try:
        run_stage(
            bridge, tiny_run.TinySource(), recipe, folder, name=cast("Any", stage), progress=progress, processes=processes
        )
    except StoppedBySignal as stopped:
        return str(stopped)
    return ""


def stages(processes: Processes, folder: Path, models: Path) -> dict[str, Any]:
    """A stage that is left alone, one that is stopped and resumed, and one that another number of processes will finish."""
    signalled = SignalAt(5, signal.SIGTERM) if processes.rank == 1 else Silence()
    return {
        "alone": train(processes, models, folder / "undisturbed", "transfer", Silence()),
        "stopped": train(processes, models, folder / "resumed", "transfer", signalled),
        "resumed": train(processes, models, folder / "resumed", "transfer", Silence()),
        "whole": train(processes, models, folder / "whole", "align", Silence()),
        "begun": train(processes, models, folder / "begun", "align", signalled),
    }


def killed(processes: Processes, folder: Path, models: Path) -> dict[str, Any]:
    """The last process is killed in the middle of a stage."""
    progress = SignalAt(4, signal.SIGKILL) if processes.rank == 1 else Silence()
    return {"line": error_of(lambda: train(processes, models, folder / "killed", "transfer", progress))}


def stuck(processes: Processes, folder: Path, _models: Path) -> dict[str, Any]:
    """The last process does not come."""
    processes.stuck_seconds = 0.5
    if not processes.is_first:
        while not (folder / "noticed").exists():
            time.sleep(0.05)
        return {}
    line = error_of(processes.meet)
    (folder / "noticed").touch()
    return {"line": line}


SCENARIOS = {
    "steps": steps,
    "stages": stages,
    "killed": killed,
    "stuck": stuck,
    "answers": answers,
    "killed answers": killed_answers,
}


def take_part(scenario: str, rank: int, size: int, folder: Path, models: Path) -> None:
    """What a process of the tests does."""
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / f"store-{scenario}-{size}"), size)
    with joined(Started(rank, size, rank, size), device="cpu", store=store) as processes:
        write_json(folder / f"{scenario}-{size}-{rank}.json", SCENARIOS[scenario](processes, folder, models))
