"""Writes what `lilift export` produces: everything that you need to use a run elsewhere.

    hf/                  the merged LLM: safetensors, configuration, and the tokenizer's files byte for byte
    alignment/           the alignment layer for the LLM in hf/
    llm-f16.gguf …       the merged LLM for llama.cpp and the programs that use it
    encoder-bf16.gguf    the encoder; spiece.model is its tokenizer, byte for byte
    align.gguf           the alignment layer, in float32
    Modelfile            for Ollama: the prompt of training and its stop tokens
    README.md            the model card
    lilift.json          how the parts work together: order of the sequence, template, special tokens, hashes

docs/export.md describes each part. Other programs load `hf/` or `llm-*.gguf`. They run the LLM alone, which answers questions
in English. Questions in other languages need the encoder and the alignment layer too. A run without an encoder has neither: its
LLM reads all questions itself, and is all there is.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from lilift import __version__
from lilift.data.lexicons import lexicon_table
from lilift.data.prepared_data import LEXICONS
from lilift.data.texts.kept_template import kept_template
from lilift.data.texts.prompt_templates import CHAT, Template, template_of
from lilift.export import model_card
from lilift.export.base_check import check_same_base
from lilift.export.hugging_face import HuggingFaceFolder
from lilift.export.job import Export, RunParts
from lilift.export.merge import MergedWeights
from lilift.export.model_card import CardScore
from lilift.export.runner.description import DESCRIPTION, LLM_ALONE_SEQUENCE, SEQUENCE
from lilift.model.encoders.encoder_tokenizer import load_encoder_tokenizer
from lilift.model.encoders.source_languages import codes_by_language
from lilift.model.llms.llm_tokenizer import load_llm_tokenizer
from lilift.model.snapshot import local_model_folder
from lilift.model.sources import loading, model_folder_or_hub
from lilift.recipe import sealed_folders, storage
from lilift.recipe.schema import ExportFormat, ExportSettings, Recipe

BUNDLE_FORMAT = 2
PREFIX_FORMAT = 3  # with `encoder.prefix`, which earlier versions would silently leave out
LLM_ALONE_FORMAT = 4  # without encoder and alignment layer, which earlier versions expect
# Everything that an export may write; parts of an earlier export that this one does not write again are deleted.
_PARTS_OF: Mapping[ExportFormat, tuple[str, ...]] = {
    "hf": ("hf", "alignment", "encoder"),
    "gguf": ("llm-*.gguf", "source-*.gguf", "encoder-*.gguf", "align.gguf", "spiece.model", "Modelfile"),
}
PARTS = (*(part for parts in _PARTS_OF.values() for part in parts), "README.md")


@dataclass(frozen=True)
class ExportReport:
    """What an export has written.

    Attributes:
        merged_layers: layers that the adapter changes.
        round_tripped_layers: layers that went through NF4 as in training.
        tensors: tensors of the model.
        merge_base: the weights that the adapter is merged into.
        files: the size of each weight file in bytes.
        notes: what the user should know.
        refused: the formats that lilift could not write, and why; the files of the other formats are complete.
    """

    merged_layers: int
    round_tripped_layers: int
    tensors: int
    merge_base: str
    files: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    refused: Mapping[str, Exception] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values; `refused` is left out if lilift has written every format."""
        found = asdict(replace(self, refused={}))
        del found["refused"]
        return found | ({"refused": {name: str(error) for name, error in self.refused.items()}} if self.refused else {})

    def raise_refusal(self) -> None:
        """Raise the error of the first format that lilift could not write, if there is one.

        Call this after everything else, because the files of the other formats are complete.
        """
        for error in self.refused.values():
            raise error

    def lines(self) -> list[str]:
        """The report as lines to print."""
        through = f"; {self.round_tripped_layers} layers went through NF4 as in training" if self.round_tripped_layers else ""
        lines = [f"merged the adapter into {self.merged_layers} layers; the model has {self.tensors} tensors{through}"]
        lines += [f"{name}: {size / 1e6:,.1f} MB" for name, size in self.files.items()]
        lines += [f"lilift could not write {name}: {error}" for name, error in self.refused.items()]
        return [*lines, *self.notes]


def export_bundle(
    recipe: Recipe, settings: ExportSettings, parts: RunParts, output: Path, *, scores: Sequence[CardScore] = ()
) -> ExportReport:
    """Merge the adapter and write the bundle to `output`; it replaces what an earlier export left there.

    lilift computes the merged weights once and writes them to all files at the same time, row by row. If it cannot write one
    format, it still writes the others, and the report says why.

    Args:
        recipe: of the run.
        settings: formats, types and precision.
        parts: the trained parts of the run.
        output: the folder.
        scores: what the run's evaluation found, for the model card.

    Raises:
        ModelError: the base model is not on this machine, or the adapter does not fit it; or no format can be written, because
            llama.cpp cannot run the model.
        EnvironmentUnfit: no format can be written, because the settings ask for a type that llama.cpp's quantiser makes, and it
            is not installed.
        StorageError: `output` cannot be written or has no room.
    """
    quantized = recipe.llm.quantization == "nf4"
    base = local_model_folder(recipe.llm.model, recipe.llm.revision)
    check_same_base(base, parts.adapter.parent)
    merged = MergedWeights(
        base, parts.adapter, quantized=quantized, merge_base=settings.merge_base, compute_dtype=recipe.llm.dtype
    )
    with sealed_folders.replaced_parts(output, parts=PARTS, last=DESCRIPTION) as stage:
        template = kept_template(parts.data) or _rendered_template(recipe)
        export = Export(recipe, settings, template, base, parts, merged, stage, scores=scores)
        export.description = _description(recipe, settings, template)
        with ExitStack() as stack:
            begun = [_Format(name, export) for name in settings.formats]
            for each in begun:
                each.begin(stack)
            _require_one(begun)
            export.write_weights()
        for each in begun:
            each.finish()
        _require_one(begun)
        (stage / model_card.FILE_NAME).write_text(_model_card(export, hf_folder="hf"), encoding="utf-8")
        sizes, sums = _sizes_and_sums(stage)
        storage.write_json(stage / DESCRIPTION, storage.sealed_json(export.description | {"sha256": sums}))
    return ExportReport(
        merged_layers=len(merged.updates),
        round_tripped_layers=len(merged.round_trip),
        tensors=len(merged.shapes),
        merge_base=export.merge_base,
        files=sizes,
        notes=tuple(export.notes),
        refused={each.name: each.refusal for each in begun if each.refusal is not None},
    )


class _Format:
    """One format of an export: its files, or the reason why lilift cannot write them."""

    def __init__(self, name: ExportFormat, export: Export) -> None:
        self.name = name
        self.refusal: Exception | None = None
        self._export = export
        self._before = export.state()
        self._after: Callable[[], None] = lambda: None

    def begin(self, stack: ExitStack) -> None:
        """Open the files; `stack` closes them."""
        self._before = self._export.state()
        try:
            with ExitStack() as own:  # it closes half-opened files with the error that stopped them
                self._after = _FORMATS[self.name](self._export, own)
                stack.enter_context(own.pop_all())
        except Exception as error:
            self._refuse(error)

    def finish(self) -> None:
        """Complete the files after the merged weights are in them."""
        if self.refusal is None:
            try:
                self._after()
            except Exception as error:
                self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        """Keep the reason, and leave nothing of this format behind."""
        self.refusal = error
        self._export.restore(self._before)
        for path in [path for part in _PARTS_OF[self.name] for path in self._export.stage.glob(part)]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _require_one(formats: Sequence[_Format]) -> None:
    """Raise the first refusal if lilift cannot write any format."""
    refusals = [each.refusal for each in formats if each.refusal is not None]
    if len(refusals) == len(formats):
        raise refusals[0]


def _rendered_template(recipe: Recipe) -> Template:
    """For runs whose data phase kept no template."""
    return template_of(recipe.data.template, load_llm_tokenizer(recipe.llm) if recipe.data.template == CHAT else None)


def _hugging_face(export: Export, stack: ExitStack) -> Callable[[], None]:
    settings, merge_base, merged = export.settings, export.merge_base, export.merged
    folder = stack.enter_context(sealed_folders.sealed_folder(export.stage / "hf", {"merge_base": merge_base}))
    files = HuggingFaceFolder(folder, export.base, merged.shapes, settings.dtype, merged.whole_numbers)
    export.plan_file(files.nbytes, "the merged model")
    export.sinks.append(files.open(stack))
    codes = _encoder_languages(export.recipe)
    if codes:
        export.description["encoder"] |= {"languages": codes}
    # It replaces the model card of the base model, which describes another model.
    (folder / model_card.FILE_NAME).write_text(_model_card(export, hf_folder=""), encoding="utf-8")

    if export.parts.encoder is not None:
        size = sum(path.stat().st_size for path in export.parts.encoder.iterdir())
        export.plan_file(size, "the adapted encoder")

    def finish() -> None:
        for name, part in (("alignment", export.parts.alignment), ("encoder", export.parts.encoder)):
            if part is not None:
                with sealed_folders.sealed_folder(export.stage / name) as copied:
                    for path in part.iterdir():
                        if path.name != sealed_folders.MANIFEST:
                            shutil.copyfile(path, copied / path.name)

    return finish


def _encoder_languages(recipe: Recipe) -> dict[str, str]:
    """The encoder's own code for each language that the run knows; empty if it is not told the language of a text."""
    settings = recipe.encoder
    if not recipe.has_encoder:
        return {}
    location = model_folder_or_hub(settings.model)
    with loading(settings.model, what="encoder's tokenizer"):
        config = AutoConfig.from_pretrained(location, revision=settings.revision, trust_remote_code=False)
        tokenizer = load_encoder_tokenizer(location, settings.revision, config, settings.language_codes)
    return codes_by_language(tokenizer.source_languages, ("en", *recipe.languages))


def _gguf(export: Export, stack: ExitStack) -> Callable[[], None]:
    from lilift.export.gguf.gguf_part import begin_gguf

    return begin_gguf(export, stack)


_FORMATS: Mapping[ExportFormat, Callable[[Export, ExitStack], Callable[[], None]]] = {"hf": _hugging_face, "gguf": _gguf}


def _model_card(export: Export, *, hf_folder: str) -> str:
    return model_card.model_card(
        export.recipe,
        export.template,
        merge_base=export.merge_base,
        gguf_files=list(export.description["llm"].get("files", {}).values()),
        hf_folder=hf_folder if "hf" in export.settings.formats else None,
        scores=export.scores,
        dictionaries=_dictionaries(export.parts.data / LEXICONS),
        unnormalized=export.unnormalized,
    )


def _dictionaries(folder: Path) -> list[str]:
    """A line for each source of the run's dictionaries: its name, its licence and its languages."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.glob(f"*{lexicon_table.SUFFIX}")):
        for source in lexicon_table.read_sources(path):
            found.setdefault(f"{source.name} (licence: {source.licence})", []).append(path.stem)
    return [f"Dictionaries of {source}: {', '.join(codes)}" for source, codes in found.items()]


def _description(recipe: Recipe, settings: ExportSettings, template: Template) -> dict[str, Any]:
    """The content of `lilift.json` that does not depend on the format."""
    with_encoder = PREFIX_FORMAT if recipe.encoder.prefix else BUNDLE_FORMAT
    return {
        "format": with_encoder if recipe.has_encoder else LLM_ALONE_FORMAT,
        "lilift": __version__,
        "recipe": recipe.name,
        "languages": list(recipe.languages),
        "seed": recipe.seed,
        "sequence": list(SEQUENCE if recipe.has_encoder else LLM_ALONE_SEQUENCE),
        "layout": recipe.alignment.layout,
        "template": template.as_dict(),
        "encoder": _encoder(recipe) if recipe.has_encoder else None,
        "llm": {"model": recipe.llm.model, "revision": recipe.llm.revision, "quantization": recipe.llm.quantization},
        "alignment": recipe.alignment.model_dump(mode="json") if recipe.has_encoder else None,
        "max_tokens": recipe.data.max_tokens,
        "max_new_tokens": recipe.evaluate.max_new_tokens,
        "merge_base": settings.merge_base if recipe.llm.quantization == "nf4" else "original",
        "dtype": settings.dtype,
    }


def _encoder(recipe: Recipe) -> dict[str, Any]:
    """The section `encoder`. Of an adaptation only the languages count: the adapted encoder is in the export."""
    adapt = recipe.encoder.adapt
    found = recipe.encoder.model_dump(mode="json", exclude={"adapt"})
    return found if adapt is None else found | {"adapted_to": list(recipe.running_text)}


def _sizes_and_sums(stage: Path) -> tuple[dict[str, int], dict[str, str]]:
    """The size in bytes of every weight file, and the SHA-256 of every file, by their names in the bundle."""
    paths = {path.relative_to(stage).as_posix(): path for path in sorted(stage.rglob("*")) if path.is_file()}
    sizes = {name: path.stat().st_size for name, path in paths.items() if path.suffix in (".safetensors", ".gguf")}
    return sizes, {name: storage.sha256_of(path) for name, path in paths.items() if path.name != sealed_folders.MANIFEST}
