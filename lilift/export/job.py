"""The parts of a run that an export needs, and the state of one export while lilift writes it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lilift.data.texts.prompt_templates import Template
from lilift.export.merge import MergedWeights
from lilift.export.safetensors_rows import Floats
from lilift.memory.guard import OutOfMemoryGuard
from lilift.model.encoders.run_encoder import adapted_encoder
from lilift.recipe import sealed_folders, storage
from lilift.recipe.errors import EnvironmentUnfit
from lilift.recipe.schema import ExportSettings, Recipe

if TYPE_CHECKING:
    from lilift.export.gguf.normalizer import Unnormalized
    from lilift.export.model_card import CardScore


@dataclass(frozen=True)
class RunParts:
    """The trained parts of a run; `alignment` is None for a run without an encoder, `encoder` for one that adapts none."""

    alignment: Path | None
    adapter: Path
    data: Path
    encoder: Path | None = None

    @classmethod
    def of(cls, run: Path, recipe: Recipe) -> RunParts:
        """The parts in a run folder, checked against their manifests.

        Raises:
            RunFolderError: a part is missing or damaged.
        """
        alignment = run / "align" / "alignment" if recipe.has_encoder else None
        encoder = adapted_encoder(recipe, run)
        parts = cls(alignment=alignment, adapter=run / "transfer" / "adapter", data=run / "data", encoder=encoder)
        for part in (parts.encoder, parts.alignment, parts.adapter):
            if part is not None:
                sealed_folders.verify_part(part, if_unfinished=sealed_folders.remedy_to_finish(run))
        return parts


class Sink(Protocol):
    """One or several files that receive the merged weights, tensor after tensor, in the order of the base model's files."""

    def write(self, name: str, rows: Floats) -> None:
        """Add rows to a tensor."""

    def restart(self, name: str) -> None:
        """Forget the rows of the tensor that is being written or was written last; the other tensors stay."""


@dataclass
class Export:
    """One export while lilift writes it.

    Attributes:
        sinks: the files that receive the merged weights.
        row_multiple: chunks have a multiple of this many rows, so that no attention head is cut in two.
        recipe, settings, template, base, parts, merged: what is exported.
        stage: the folder for the files until the export is complete.
        scores: what the run's evaluation found, for the model card.
        description: the content of `lilift.json`.
        notes: what the user should know.
        planned_bytes: size of the files that were planned so far.
        unnormalized: what other programs than lilift tokenize otherwise; None if llama.cpp leaves no step out.
    """

    recipe: Recipe
    settings: ExportSettings
    template: Template
    base: Path
    parts: RunParts
    merged: MergedWeights
    stage: Path
    scores: Sequence[CardScore] = ()
    sinks: list[Sink] = field(default_factory=list)
    row_multiple: int = 1
    description: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    planned_bytes: int = 0
    unnormalized: Unnormalized | None = None

    @property
    def merge_base(self) -> str:
        """The weights that the adapter is merged into; a base model that was never quantised only has its original weights."""
        return self.settings.merge_base if self.recipe.llm.quantization == "nf4" else "original"

    def state(self) -> dict[str, Any]:
        """What a format changes when it begins; see `restore`."""
        return {
            "sinks": list(self.sinks),
            "row_multiple": self.row_multiple,
            "description": copy.deepcopy(self.description),
            "planned_bytes": self.planned_bytes,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Forget a format that lilift cannot write."""
        for name, value in state.items():
            setattr(self, name, value)

    def plan_file(self, nbytes: int, what: str) -> None:
        """Check that the disk has room for new files in addition to those that were planned before.

        Raises:
            StorageError: the disk does not have enough room.
        """
        self.planned_bytes += nbytes
        storage.require_room(self.stage.parent, self.planned_bytes, what)

    def write_weights(self) -> None:
        """Compute the merged weights once, and write them to all files at the same time.

        If memory runs out, the tensor starts again in chunks of half the size, and later tensors keep this size.

        Raises:
            EnvironmentUnfit: memory runs out even with the smallest chunks.
        """
        guard = OutOfMemoryGuard(self.notes.append)
        for name in self.merged.shapes:
            try:
                guard.retry(lambda name=name: self._write_tensor(name, halvings=guard.failures))  # type: ignore[misc]
            except MemoryError:
                raise EnvironmentUnfit(
                    "there is not enough free memory to merge the weights",
                    where=name,
                    remedy="close other programs and run the command again",
                ) from None
        if guard.failures:
            self.notes.append(f"memory ran out {guard.failures} times during the merge, but every file is complete")

    def _write_tensor(self, name: str, *, halvings: int) -> None:
        for sink in self.sinks:
            sink.restart(name)
        for rows in self.merged.chunks(name, self.row_multiple, halvings=halvings):
            for sink in self.sinks:
                sink.write(name, rows)
