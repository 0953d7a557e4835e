"""What `lilift export` writes: everything that is needed to use a run elsewhere.

    hf/            the merged LLM: safetensors, configuration, the tokenizer's files byte for byte
    alignment/     the alignment layer, with its boundary vectors
    lilift.json    how the parts belong together: order of the sequence, template, encoder, hashes

Programs that know nothing of lilift load `hf/`. By itself it answers in English; the path from other languages leads through
the encoder and the alignment layer.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lilift.data.templates import TEMPLATES
from lilift.export.merge import MergeReport, merge
from lilift.model.snapshot import local_model_folder
from lilift.recipe import storage
from lilift.recipe.errors import RunFolderError
from lilift.recipe.schema import ExportSettings, Recipe

BUNDLE_FORMAT = 1


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


@dataclass(frozen=True)
class ExportReport:
    """What was written."""

    merge: MergeReport
    merge_base: str
    dtype: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def line(self) -> str:
        """The report in one sentence."""
        through = (
            f", {self.merge.round_tripped_layers} of them taken through NF4 as in training"
            if self.merge_base == "dequantised"
            else ""
        )
        return (
            f"merged {self.merge.merged_layers} layers of {self.merge.tensors} tensors{through}; "
            f"{self.merge.bytes_written / 1e6:,.1f} MB in {self.dtype}"
        )


def export_bundle(recipe: Recipe, settings: ExportSettings, parts: RunParts, output: Path) -> ExportReport:
    """Merge, and write the bundle to `output`; what is there of an earlier export is replaced part by part.

    Raises:
        ModelError: the base model is not at hand, or the adapter does not fit it.
        StorageError: `output` cannot be written or has no room.
    """
    base = local_model_folder(recipe.llm.model, recipe.llm.revision)
    (output / "lilift.json").unlink(missing_ok=True)  # its absence says that the bundle is not whole
    report = merge(
        base,
        parts.adapter,
        output / "hf",
        quantized=recipe.llm.quantization == "nf4",
        merge_base=settings.merge_base,
        compute_dtype=recipe.llm.dtype,
        dtype=settings.dtype,
    )
    with storage.sealed_folder(output / "alignment") as folder:
        for path in parts.alignment.iterdir():
            if path.name != storage.MANIFEST:
                shutil.copyfile(path, folder / path.name)
    storage.write_json(output / "lilift.json", _description(recipe, settings, output))
    return ExportReport(report, settings.merge_base, settings.dtype)


def _description(recipe: Recipe, settings: ExportSettings, output: Path) -> dict[str, Any]:
    template = TEMPLATES[recipe.data.template]
    return {
        "format": BUNDLE_FORMAT,
        "recipe": recipe.name,
        "languages": list(recipe.languages),
        "sequence": ["llm bos", "alignment bos", "soft tokens", "alignment eos", "prompt text", "response"],
        "layout": recipe.alignment.layout,
        "template": {
            "name": template.name,
            "before": template.before,
            "after": template.after,
            "openers": dict(template.openers),
        },
        "encoder": recipe.encoder.model_dump(mode="json"),
        "llm": {"model": recipe.llm.model, "revision": recipe.llm.revision, "quantization": recipe.llm.quantization},
        "alignment": recipe.alignment.model_dump(mode="json"),
        "max_tokens": recipe.data.max_tokens,
        "merge_base": settings.merge_base,
        "dtype": settings.dtype,
        "sha256": {
            path.relative_to(output).as_posix(): storage.sha256_of(path) for path in sorted(output.rglob("*.safetensors"))
        },
    }
