"""The instant memory plan: bytes as a straight line over the rows of a batch, fitted to the simulation beforehand.

`fitted.json` holds the lines of the shipped recipes. They also hold for a recipe that differs from a shipped one only in the
tokens of a batch. This module imports no heavy package. `python -m lilift.phases.fit_instant_plan` writes the file again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from lilift.memory.phase_plan import PhasePlan, phase_on_card
from lilift.memory.planned_card import GIB, PlannedCard, planned_card
from lilift.recipe.errors import RecipeError
from lilift.recipe.load import fingerprint
from lilift.recipe.schema import Recipe

# The settings that say how many tokens are in a batch. The lines run over them.
TOKEN_SETTINGS = {"align": "tokens_per_micro_batch", "transfer": "tokens_per_micro_batch", "evaluate": "tokens_per_batch"}
# The other settings that memory depends on.
SHAPING = {
    "encoder": ("model", "revision", "dtype", "quantization", "placement", "add_embeddings", "max_tokens"),
    "llm": ("model", "revision", "quantization", "dtype", "gradient_checkpointing"),
    "alignment": ("kind", "layout", "expansion", "latents", "layers", "pool", "scale_states"),
    "align": ("optimizer", "skip", "trains"),
    "transfer": ("optimizer", "skip", "trains"),
}
Line = tuple[float, float]  # bytes without rows, bytes for each row


@dataclass(frozen=True)
class InstantPlan:
    """Predicted peaks of the phases on the card.

    Attributes:
        left_out: phases of the recipe that no lines are fitted for.
    """

    recipe: str
    card: PlannedCard
    phases: tuple[PhasePlan, ...]
    left_out: tuple[str, ...] = ()

    @property
    def peak_bytes(self) -> int:
        return max(phase.peak_bytes for phase in self.phases)

    def require_fit(self) -> None:
        """Refuse a plan whose peak is above the card's memory.

        Raises:
            RecipeError: the plan does not fit. The error names the largest category.
        """
        worst = max(self.phases, key=lambda phase: phase.peak_bytes)
        if worst.peak_bytes > self.card.usable_bytes:
            raise RecipeError(
                f"phase {worst.phase!r} needs {worst.peak_bytes / GIB:.1f} GiB, and {self.card.name} has only "
                f"{self.card.usable_bytes / GIB:.1f} GiB for it; the largest part is {worst.largest}",
                where=self.recipe,
                remedy="leave out --instant to see which changes make it fit",
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, in MiB."""
        return {
            "recipe": self.recipe,
            "card": self.card.name,
            "limit_mib": round(self.card.usable_bytes / 2**20, 1),
            "peak_mib": round(self.peak_bytes / 2**20, 1),
            "phases": {
                phase.phase: {
                    "peak_mib": round(phase.peak_bytes / 2**20, 1),
                    "parts_mib": {name: round(size / 2**20, 1) for name, size in phase.parts.items() if size},
                    "rows": phase.rows,
                }
                for phase in self.phases
            },
            **({"left_out": list(self.left_out)} if self.left_out else {}),
            "basis": "straight lines fitted to the simulation of this recipe; lilift changed nothing to make it fit",
        }


def instant_plan(recipe: Recipe, *, card: str | None = None) -> InstantPlan:
    """Predict the peak of every phase at once.

    Raises:
        RecipeError: the recipe differs from every shipped one in more than the tokens of a batch, or there is no such card.
    """
    chosen = planned_card(card or recipe.card)
    fit = _fit_for(recipe, chosen)
    if fit is None:
        raise RecipeError(
            "lilift has no instant plan for this recipe, because it differs from every shipped recipe in more than batch sizes"
            + ("" if chosen.bfloat16 else ", or because this card needs other number types"),
            where=recipe.name,
            remedy="leave out --instant",
        )
    phases = tuple(_phase(name, settings, recipe, chosen) for name, settings in fit.items())
    return InstantPlan(recipe.name, chosen, phases, () if recipe.encoder.adapt is None else ("adapt",))


def is_fitted(recipe: Recipe, card: str | None = None) -> bool:
    """Whether there is an instant plan for the recipe, on its own card or on another one."""
    return _fit_for(recipe, planned_card(card or recipe.card)) is not None


def measured_peaks() -> dict[str, dict[str, float]]:
    """Measured peaks of the memory that a GPU's allocator reserved, in MiB, by recipe and phase."""
    text = (resources.files("lilift.memory") / "measured.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, float]] = json.loads(text)
    return found


def shape_of(recipe: Recipe, kind: str) -> str:
    """A digest of all settings that memory depends on, except the number of tokens in a batch."""
    settings = recipe.as_dict()
    depends_on = {
        section: {key: settings[section][key] for key in keys if key in settings[section]} for section, keys in SHAPING.items()
    }
    depends_on["lora"] = {key: settings["transfer"]["lora"][key] for key in ("rank", "target_modules")}
    if recipe.evaluate.during is not None:  # the stages then also hold a batch of questions
        depends_on["during"] = {"stages": recipe.evaluate.during.stages}
    if recipe.uses_monolingual:  # every token of stage 1 has loss
        depends_on["monolingual"] = {"texts": recipe.align.texts}
    limits = {"max_tokens": recipe.data.max_tokens, "max_new_tokens": recipe.evaluate.max_new_tokens}
    return fingerprint("shape", kind, depends_on, limits)


def _fit_for(recipe: Recipe, card: PlannedCard) -> dict[str, Any] | None:
    """The lines of a recipe; None without lines. A card without bfloat16 needs other number types than the lines are for."""
    emulates = not card.bfloat16 and "bfloat16" in (recipe.llm.dtype, recipe.encoder.dtype)
    return None if emulates else _fits().get(shape_of(recipe, card.kind))


def _phase(name: str, fit: dict[str, Any], recipe: Recipe, card: PlannedCard) -> PhasePlan:
    rows = max(1, getattr(getattr(recipe, name), TOKEN_SETTINGS[name]) // fit["row_tokens"])
    segments = [
        {category: round(base + slope * rows) for category, (base, slope) in lines.items()}
        for lines in fit["segments"].values()
    ]
    parts = max(segments, key=lambda parts: sum(parts.values()))
    base, slope = fit["overhead"]
    return phase_on_card(card, name, parts, round(base + slope * rows), rows=rows, row_tokens=fit["row_tokens"])


@cache
def _fits() -> dict[str, dict[str, Any]]:
    text = (resources.files("lilift.memory") / "fitted.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = json.loads(text)
    return found
