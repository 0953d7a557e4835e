"""What an export starts from, and one export while it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lilift.data.templates import Template
from lilift.export.merge import MergedWeights
from lilift.export.weights import Floats
from lilift.recipe import storage
from lilift.recipe.errors import RunFolderError
from lilift.recipe.schema import ExportSettings, Recipe


@dataclass(frozen=True)
class RunParts:
    """What a run has trained."""

    alignment: Path
    adapter: Path

    @classmethod
    def of(cls, run: Path) -> RunParts:
        """The parts in a run folder, checked against their manifests.

        Raises:
            RunFolderError: a part is missing or damaged.
        """
        parts = cls(alignment=run / "align" / "alignment", adapter=run / "transfer" / "adapter")
        for phase, part in (("align", parts.alignment), ("transfer", parts.adapter)):
            if not part.exists():
                raise RunFolderError(f"{phase} is not finished in this run", where=run, remedy="finish it with --resume")
            storage.verify_sealed_folder(part)
        return parts


@dataclass
class Export:
    """One export while it is made: what will be written, and what is to be said about it.

    Attributes:
        sinks: take rows of the merged weights, in the order of the base's files.
        row_multiple: rows come in multiples of this, so that a head is never cut.
        recipe, settings, template, base, parts, merged: what is exported.
        stage: the folder to write in.
        description: what `lilift.json` will say.
        notes: what the user should know.
    """

    recipe: Recipe
    settings: ExportSettings
    template: Template
    base: Path
    parts: RunParts
    merged: MergedWeights
    stage: Path
    sinks: list[Callable[[str, Floats], None]] = field(default_factory=list)
    row_multiple: int = 1
    description: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def merge_base(self) -> str:
        """The weights that the adapter is merged into; a base that was never quantised has only its own."""
        return self.settings.merge_base if self.recipe.llm.quantization == "nf4" else "original"
