"""Records what an evaluation cost: seconds and questions of each benchmark, and the highest memory while the model answered.

`cost.json` lies in the folder of a system. lilift adds to it whenever the model answers questions. It is no part of the
answers: if the file is damaged or missing, only these figures are missing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from lilift.recipe.errors import LiliftError
from lilift.recipe.storage import read_json, write_json

COST = "cost.json"
_GIB = 2**30


@dataclass(frozen=True)
class AnsweringCost:
    """What the answers to one benchmark cost.

    Attributes:
        questions: questions that the model answered while lilift measured.
        seconds: wall-clock seconds that these took, loading not counted.
        peak_gib: the highest memory in GiB, the model's weights included; None if lilift did not see it.
        memory: whose memory that is: ``gpu`` (reserved by torch) or ``host`` (resident memory of the process).
    """

    questions: int
    seconds: float
    peak_gib: float | None
    memory: str

    @property
    def seconds_a_question(self) -> float:
        return self.seconds / self.questions


class CostMeter:
    """Measures the questions of one benchmark while they are answered."""

    def __init__(self) -> None:
        self.questions = 0
        self._began = time.monotonic()
        self._torch = sys.modules.get("torch")
        self.on_gpu = self._torch is not None and bool(self._torch.cuda.is_initialized())
        self._peak = 0
        self._look()

    def answered(self, questions: int) -> None:
        """Count questions whose answers have been stored, and look at the memory."""
        self.questions += questions
        self._look()

    def cost(self) -> AnsweringCost:
        """What it cost so far."""
        seconds = time.monotonic() - self._began
        return AnsweringCost(self.questions, seconds, self._peak / _GIB, "gpu" if self.on_gpu else "host")

    def _look(self) -> None:
        if self.on_gpu and self._torch is not None:
            self._peak = max(self._peak, int(self._torch.cuda.max_memory_reserved()))
        else:
            import psutil

            self._peak = max(self._peak, int(psutil.Process().memory_info().rss))


@contextmanager
def measured_cost(keep: Callable[[AnsweringCost], None]) -> Iterator[CostMeter]:
    """Measure the block, and give its cost to `keep`, also when the block ends with an error."""
    meter = CostMeter()
    try:
        yield meter
    finally:
        if meter.questions:
            keep(meter.cost())


def add_cost(folder: Path, benchmark: str, cost: AnsweringCost) -> None:
    """Add the cost of answers to a benchmark to a system's `cost.json`.

    Raises:
        StorageError: the file cannot be written.
    """
    kept = read_costs(folder)
    kept[benchmark] = one_after_other(kept.get(benchmark), cost)
    write_costs(folder, kept)


def write_costs(folder: Path, costs: Mapping[str, AnsweringCost]) -> None:
    """Replace a system's `cost.json`.

    Raises:
        StorageError: the file cannot be written.
    """
    write_json(folder / COST, {"format": 1, "benchmarks": {name: asdict(cost) for name, cost in costs.items()}})


def read_costs(folder: Path) -> dict[str, AnsweringCost]:
    """The costs in a system's folder by benchmark; empty if there are none or the file is damaged."""
    if not (folder / COST).exists():
        return {}
    try:
        found = read_json(folder / COST)["benchmarks"]
        return {str(name): _cost(one) for name, one in found.items() if one["questions"] > 0}
    except (LiliftError, KeyError, TypeError, AttributeError, ValueError):
        return {}


def _cost(one: Mapping[str, object]) -> AnsweringCost:
    peak = one["peak_gib"]
    return AnsweringCost(
        int(str(one["questions"])), float(str(one["seconds"])), None if peak is None else float(str(peak)), str(one["memory"])
    )


def one_after_other(before: AnsweringCost | None, now: AnsweringCost) -> AnsweringCost:
    """Both costs together. If one was measured on a GPU and the other was not, their memory is not comparable."""
    if before is None:
        return now
    same = before.memory == now.memory and before.peak_gib is not None and now.peak_gib is not None
    peak = max(before.peak_gib or 0, now.peak_gib or 0) if same else None
    return AnsweringCost(before.questions + now.questions, before.seconds + now.seconds, peak, now.memory)
