"""The predicted peak of one phase by category, and the names and colours of the categories.

This module imports no heavy package.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lilift.memory.calibration import measured_ratios, ratio
from lilift.memory.planned_card import GIB, MIB, PlannedCard
from lilift.recipe.errors import RecipeError

# The least share of memory that the allocator reserves beyond what is in use: rounding, and workspaces that torch does not
# show.
LEAST_OVERHEAD = 0.02
# While models load into host memory, large blocks go back to the system (`lilift.memory.host_allocator`). The heap of small
# blocks has holes of at most this size (measured with SmolLM2-135M's shape).
HEAP_BYTES = 64 * MIB
# Beyond the weights and the mapped files, loading takes copies of single weights and small trial runs.
LOADING_SHARE = 0.05
# Lasting categories come first, then temporary ones. A page shows the colour, a terminal without colours the letter.
CATEGORY_COLOURS = {
    "context": "#8a8f98",
    "llm": "#0b62b8",
    "encoder": "#7c3a9e",
    "alignment": "#16703c",
    "adapter": "#3aa76d",
    "translator": "#1b8a99",
    "gradients": "#b45309",
    "optimizer": "#d9902f",
    "activations": "#b3261e",
    "temporaries": "#e07a72",
    "kv_cache": "#c2408a",
    "overhead": "#5a616c",
}
CATEGORY_LETTERS = dict(zip(CATEGORY_COLOURS, "cLEAaTgoXtKr", strict=True))
CATEGORY_TITLES = {name: name for name in CATEGORY_COLOURS} | {
    "context": "context, desktop",
    "llm": "LLM",
    "temporaries": "logits, temporaries",
    "kv_cache": "KV cache",
    "overhead": "allocator",
}
CATEGORIES = tuple(CATEGORY_COLOURS)


def category_title(name: str, *, on_cpu: bool) -> str:
    """The title of a category. On a CPU, the memory that is in use before the first tensor is the process alone."""
    return "process" if name == "context" and on_cpu else CATEGORY_TITLES[name]


@dataclass(frozen=True)
class PhasePlan:
    """Predicted peak of one phase, in bytes by category.

    Attributes:
        phase: the name of the phase.
        parts: bytes by category.
        rows, row_tokens: the heaviest batch; 0 for a phase without batches.
        accumulation: micro-batches in one optimizer step; 0 for a phase without training.
        raised_bytes: the part of "overhead" that `lilift.memory.calibration` adds.
        confirmed: whether this part comes from the GPU's own runs. It is True on a CPU, where lilift adds nothing.
        loading_bytes: the part of the peak that only loading the models takes, beyond the work of the phase.
    """

    phase: str
    parts: dict[str, int]
    rows: int = 0
    row_tokens: int = 0
    accumulation: int = 0
    raised_bytes: int = 0
    confirmed: bool = True
    loading_bytes: int = 0

    @property
    def peak_bytes(self) -> int:
        return sum(self.parts.values())

    @property
    def largest(self) -> str:
        """The largest category."""
        return max(self.parts, key=lambda name: self.parts[name])


def fuller_moment(parts: dict[str, int], overhead: int, loading: dict[str, int]) -> tuple[dict[str, int], int, int]:
    """The fuller of two moments of a phase in host memory: its work, or loading its models.

    Args:
        parts, overhead: bytes at work, and what the allocator keeps then.
        loading: bytes while the models load.

    Returns:
        The bytes by category and the allocator's, and by how many bytes loading exceeds the work.
    """
    total, working = sum(loading.values()), sum(parts.values()) + overhead
    if total <= working:
        return parts, overhead, 0
    overhead = math.ceil(HEAP_BYTES + LOADING_SHARE * total)
    return loading, overhead, total + overhead - working


def phase_on_card(
    card: PlannedCard,
    name: str,
    tensors: Mapping[str, int],
    overhead: int,
    *,
    rows: int,
    row_tokens: int,
    accumulation: int = 0,
) -> PhasePlan:
    """The plan of a phase that runs on a card: its tensors, and what the card takes besides them.

    lilift adds the context, cuBLAS's workspaces, and what GPUs took beyond earlier plans (see `lilift.memory.calibration`).

    Args:
        card: the card.
        name: the name of the phase.
        tensors: bytes by category.
        overhead: bytes that the allocator keeps beyond the tensors.
        rows, row_tokens, accumulation: see `PhasePlan`.
    """
    # The backward pass has a thread of its own, and each thread that multiplies matrices has a workspace.
    overhead += card.workspace_bytes * (1 if name == "evaluate" else 2)
    raised, confirmed = 0, True
    if card.kind != "cpu":
        raised = math.ceil((ratio(card.gpu, name) - 1) * (sum(tensors.values()) + overhead))
        confirmed = bool(measured_ratios(card.gpu, name))
    parts = {"context": card.context_bytes, **tensors, "overhead": overhead + raised}
    return PhasePlan(name, parts, rows, row_tokens, accumulation, raised, confirmed)


def require_phase_fits(
    phases: Iterable[PhasePlan], card: PlannedCard, phase: str, *, title: str, where: str, remedy: str
) -> None:
    """Refuse phases among which one without the LLM does not fit the card, if it is there.

    Raises:
        RecipeError: `title` needs more memory than the card has.
    """
    planned = next((one for one in phases if one.phase == phase), None)
    if planned is not None and planned.peak_bytes > card.usable_bytes:
        raise RecipeError(
            f"{title} needs {planned.peak_bytes / GIB:.1f} GiB, and {card.name} has only "
            f"{card.usable_bytes / GIB:.1f} GiB for it",
            where=where,
            remedy=remedy,
        )
