"""The predicted peak of one phase by category, and the names and colours of the categories.

This module imports no heavy package.
"""

from __future__ import annotations

from dataclasses import dataclass

# Lasting categories come first, then temporary ones. A page shows the colour, a terminal without colours the letter.
CATEGORY_COLOURS = {
    "context": "#8a8f98",
    "llm": "#0b62b8",
    "encoder": "#7c3a9e",
    "alignment": "#16703c",
    "adapter": "#3aa76d",
    "gradients": "#b45309",
    "optimizer": "#d9902f",
    "activations": "#b3261e",
    "temporaries": "#e07a72",
    "kv_cache": "#c2408a",
    "overhead": "#5a616c",
}
CATEGORY_LETTERS = dict(zip(CATEGORY_COLOURS, "cLEAagoXtKr", strict=True))
CATEGORY_TITLES = {name: name for name in CATEGORY_COLOURS} | {
    "context": "context, desktop",
    "llm": "LLM",
    "temporaries": "logits, temporaries",
    "kv_cache": "KV cache",
    "overhead": "allocator",
}
CATEGORIES = tuple(CATEGORY_COLOURS)


@dataclass(frozen=True)
class PhasePlan:
    """Predicted peak of one phase, in bytes by category.

    Attributes:
        phase: the name of the phase.
        parts: bytes by category.
        rows, row_tokens: the heaviest batch; 0 for a phase without batches.
        accumulation: micro-batches in one optimizer step; 0 for a phase without training.
    """

    phase: str
    parts: dict[str, int]
    rows: int = 0
    row_tokens: int = 0
    accumulation: int = 0

    @property
    def peak_bytes(self) -> int:
        return sum(self.parts.values())

    @property
    def largest(self) -> str:
        """The largest category."""
        return max(self.parts, key=lambda name: self.parts[name])
