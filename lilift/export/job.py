"""What an export starts from, and one export while it is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lilift.data.texts.prompt_templates import Template
from lilift.export.merge import MergedWeights
from lilift.export.safetensors_rows import Floats
from lilift.memory.guard import OutOfMemoryGuard
from lilift.recipe import sealed_folders, storage
from lilift.recipe.errors import EnvironmentUnfit
from lilift.recipe.schema import ExportSettings, Recipe


@dataclass(frozen=True)
class RunParts:
    """What a run has trained."""

    alignment: Path
    adapter: Path
    data: Path

    @classmethod
    def of(cls, run: Path) -> RunParts:
        """The parts in a run folder, checked against their manifests.

        Raises:
            RunFolderError: a part is missing or damaged.
        """
        parts = cls(alignment=run / "align" / "alignment", adapter=run / "transfer" / "adapter", data=run / "data")
        for part in (parts.alignment, parts.adapter):
            sealed_folders.verify_part(part, if_unfinished="finish it with --resume")
        return parts


class Sink(Protocol):
    """A file, or several, that the merged weights are written to, tensor after tensor in the order of the base's files."""

    def write(self, name: str, rows: Floats) -> None:
        """Add rows to a tensor."""

    def restart(self, name: str) -> None:
        """Forget the rows of the tensor that is being written, or was the last to be; the others stand."""


@dataclass
class Export:
    """One export while it is made: what will be written, and what is to be said about it.

    Attributes:
        sinks: where the merged weights go.
        row_multiple: rows come in multiples of this, so that a head is never cut.
        recipe, settings, template, base, parts, merged: what is exported.
        stage: the folder to write in.
        description: what `lilift.json` will say.
        notes: what the user should know.
        planned_bytes: of the files that were planned so far.
    """

    recipe: Recipe
    settings: ExportSettings
    template: Template
    base: Path
    parts: RunParts
    merged: MergedWeights
    stage: Path
    sinks: list[Sink] = field(default_factory=list)
    row_multiple: int = 1
    description: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    planned_bytes: int = 0

    @property
    def merge_base(self) -> str:
        """The weights that the adapter is merged into; a base that was never quantised has only its own."""
        return self.settings.merge_base if self.recipe.llm.quantization == "nf4" else "original"

    def plan_file(self, nbytes: int, what: str) -> None:
        """Check that there is room for a file, or several, beside those that were planned before.

        Raises:
            StorageError: there is none.
        """
        self.planned_bytes += nbytes
        storage.require_room(self.stage.parent, self.planned_bytes, what)

    def write_weights(self) -> None:
        """Compute the merged weights once, and write them to all files side by side.

        Where memory runs out, the tensor is begun anew in chunks of half the size, and so are all that follow.

        Raises:
            EnvironmentUnfit: it ran out again and again.
        """
        guard = OutOfMemoryGuard(self.notes.append)
        for name in self.merged.shapes:
            try:
                guard.retry(lambda name=name: self._write_tensor(name, halvings=guard.failures))  # type: ignore[misc]
            except MemoryError:
                raise EnvironmentUnfit(
                    "too little memory is free to merge the weights", where=name, remedy="close other programs and try again"
                ) from None
        if guard.failures:
            self.notes.append(f"memory ran out {guard.failures} times while merging; every file is complete all the same")

    def _write_tensor(self, name: str, *, halvings: int) -> None:
        for sink in self.sinks:
            sink.restart(name)
        for rows in self.merged.chunks(name, self.row_multiple, halvings=halvings):
            for sink in self.sinks:
                sink.write(name, rows)
