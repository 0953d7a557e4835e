"""Loads the models that answer with torch: a run, the Hugging Face part of an export, or a plain LLM."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from lilift.data.batches.tokenization import Limits, Tokenisation
from lilift.data.texts.prompt_templates import CHAT, TEMPLATES, Template
from lilift.evaluate.evaluator import System
from lilift.evaluate.responders import BridgeResponder, PlainResponder
from lilift.memory.device import device_for, find_device
from lilift.model.assemble_bridge import join_models
from lilift.model.bridge_files import load_part
from lilift.model.decoding.sampling import Sampling
from lilift.model.encoders.source_languages import missing_languages
from lilift.model.llms.plain_llm import PlainLLM, load_plain_llm
from lilift.model.sources import STAND_IN
from lilift.phases.answering.answerer import DESCRIPTION, EXPORTED, Answerer, AnswerOptions, drawing, refuse, refuse_template
from lilift.phases.answering.dequantising import dequantise_if_it_fits, free_dequantised
from lilift.phases.answering.systems import SYSTEMS, answers_depend_on, load_system, responder_for, tokenisation_for
from lilift.phases.answering.torch_text_reader import TorchTextReader
from lilift.phases.run_folder import recipe_of
from lilift.recipe import sealed_folders, sealed_records, storage
from lilift.recipe.errors import RecipeError, RunFolderError
from lilift.recipe.finished_phases import MODEL_CARD
from lilift.recipe.load import fingerprint
from lilift.recipe.schema import AlignmentSettings, EncoderSettings, LLMSettings, Recipe
from lilift.train.processor_threads import share_cores, use_threads

Kind = TypeVar("Kind", EncoderSettings, AlignmentSettings)
PLAIN = System("plain", "the LLM alone")
_DEFAULT_TEMPLATE = "metamath"
_MAX_NEW_TOKENS = 512
_BATCH_TOKENS = 8192


def load_with_torch(model: str, options: AnswerOptions, system: str) -> Answerer:
    """Load a model that llama.cpp does not run; see `load_answerer` for arguments and errors."""
    folder = Path(model).expanduser()
    if (folder / "recipe.yaml").is_file():
        return _of_run(folder, options, system)
    if (folder / DESCRIPTION).is_file():
        return _of_export(folder, options)
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise RunFolderError(
            "this folder holds no run (recipe.yaml), no export (lilift.json) and no LLM (config.json)",
            where=folder,
            remedy="give the folder of one of them, or the name of an LLM on the hub",
        )
    return _of_plain(str(folder.resolve()) if folder.is_dir() else model, options)


def _of_run(run: Path, options: AnswerOptions, system: str) -> Answerer:
    recipe = recipe_of(run)
    named = recipe.data.template if isinstance(recipe.data.template, str) else "of its own"
    refuse(options, ("template",), f"a run always uses the prompt template of its training ({named})")
    refuse(options, ("quantization", "dtype"), "a run always answers with the weights of its training")
    chosen = SYSTEMS[system]
    use_threads(recipe, run, options.processes)
    bridge = load_system(recipe, run, chosen, device=device_for(recipe.card).torch_device)
    changed = {"max_new_tokens": options.max_new_tokens, "tokens_per_batch": options.batch_tokens}
    settings = recipe.evaluate.model_copy(update={name: value for name, value in changed.items() if value is not None})
    inputs = answers_depend_on(recipe, run, chosen) | {"limits": fingerprint(settings.max_new_tokens)}
    responder = responder_for(bridge, recipe, run, settings, sampling=options.sampling)
    notes = [*missing_languages(bridge.encoder.tokenizer.source_languages, recipe.languages), *_watched(recipe)]
    answering = inputs | drawing(options)
    reader = _text_reader(
        PlainLLM(bridge.causal_lm, bridge.llm_tokenizer, name=recipe.llm.model),
        tokenisation_for(bridge, recipe, run).template,
        max_new_tokens=settings.max_new_tokens,
        batch_tokens=settings.tokens_per_batch,
        sampling=options.sampling,
    )
    return Answerer(
        responder,
        chosen,
        recipe.languages,
        recipe.seed,
        answering,
        run / "evaluations",
        tuple(notes),
        text_reader=reader,
        bridged=recipe.has_encoder,
    )


def _text_reader(
    llm: PlainLLM, template: Template | None, *, max_new_tokens: int, batch_tokens: int, sampling: Sampling | None
) -> TorchTextReader:
    """An LLM as a reader of questions, in the words of a template or, without one, of its own chat template."""
    responder = PlainResponder(
        llm,
        llm.chat_prompts if template is None else lambda questions: llm.prompts(questions, template),
        lambda labels: llm.continuations(labels, template),
        max_new_tokens=max_new_tokens,
        batch_tokens=batch_tokens,
        sampling=sampling,
        spare=partial(free_dequantised, llm.llm),
    )
    return TorchTextReader(llm, responder)


def _watched(recipe: Recipe) -> list[str]:
    """A line that says which questions the run has watched during training, if any: results on these are no clean test."""
    during = recipe.evaluate.during
    if during is None:
        return []
    chose = " and chose its weights by them" if during.keep == "best" else ""
    return [
        f"this run watched {during.rows} questions of {during.benchmark} while it trained{chose}; "
        "an evaluation of that benchmark here includes them"
    ]


def _of_export(folder: Path, options: AnswerOptions) -> Answerer:
    refuse_template(options, folder)
    again = "copy it again, or export the run again"
    sealed_records.read_record(folder / DESCRIPTION, remedy=again)
    content = storage.read_json(folder / DESCRIPTION)
    try:
        encoder = _settings(EncoderSettings, content["encoder"])
        alignment = _settings(AlignmentSettings, content["alignment"])
        template = _template(content["template"])
        longest, languages, seed = int(content["max_tokens"]), tuple(map(str, content["languages"])), int(content["seed"])
        most_new = options.max_new_tokens or int(content.get("max_new_tokens", _MAX_NEW_TOKENS))
        llm = LLMSettings(
            model=str((folder / "hf").resolve()),
            quantization=options.quantization or "none",
            dtype=options.dtype or content["dtype"],
            gradient_checkpointing=False,
        )
        if not 0 < longest < 2**31 or not 0 < most_new < 2**31:
            raise ValueError("a length out of range")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, ValidationError):
        raise RunFolderError(
            "this file is damaged, or lilift did not write it", where=folder / DESCRIPTION, remedy="export the run again"
        ) from None
    if not (folder / "hf").is_dir() or not (folder / "alignment").is_dir():
        raise RunFolderError(
            "this export has no hf/ and alignment/",
            where=folder,
            remedy="export again with `--to hf`, or leave out --dtype and --quantization",
        )
    sealed_folders.verify_part(folder / "alignment", if_damaged=again)
    sealed_folders.verify_part(folder / "hf", if_damaged=again, leave_out=[MODEL_CARD])
    share_cores(options.processes)
    bridge = join_models(encoder, llm, alignment, seed=0, device=find_device().torch_device)
    load_part(bridge, "alignment", folder / "alignment")
    tokenisation = Tokenisation(
        encoder=bridge.encoder.tokenizer,
        llm=bridge.llm_tokenizer,
        template=template,
        layout=alignment.layout,
        shape=bridge.alignment.shape,
        has_llm_bos=bridge.tokens.bos is not None,
        limits=Limits(encoder.max_tokens, longest, "truncate"),
    )
    batch_tokens = options.batch_tokens or _BATCH_TOKENS
    dequantise_if_it_fits(bridge.causal_lm, "auto", batch_tokens=batch_tokens)
    responder = BridgeResponder(
        bridge,
        tokenisation,
        max_new_tokens=most_new,
        batch_tokens=batch_tokens,
        sampling=options.sampling,
        spare=partial(free_dequantised, bridge.causal_lm),
    )
    inputs = {"export": fingerprint(content), "llm": fingerprint(llm.model_dump(mode="json")), "max_new_tokens": most_new}
    notes = tuple(missing_languages(bridge.encoder.tokenizer.source_languages, languages))
    reader = _text_reader(
        PlainLLM(bridge.causal_lm, bridge.llm_tokenizer, name=str(folder)),
        template,
        max_new_tokens=most_new,
        batch_tokens=batch_tokens,
        sampling=options.sampling,
    )
    drawn = inputs | drawing(options)
    return Answerer(responder, EXPORTED, languages, seed, drawn, folder / "evaluations", notes, text_reader=reader)


def _settings(kind: type[Kind], content: Mapping[str, Any]) -> Kind:
    """A section of the recipe from a part of `lilift.json`, which has more keys if there are GGUF files."""
    return kind(**{name: value for name, value in content.items() if name in kind.model_fields})


def _template(content: Mapping[str, Any]) -> Template:
    """The prompt template from `lilift.json`.

    Raises:
        TypeError: it is none.
    """
    template = Template(**content)
    openers = (template.openers["respond"], *template.openers.values())
    texts = (template.name, template.before, template.after, template.separator, *openers)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a text of the template is no text")
    return template


def _of_plain(model: str, options: AnswerOptions) -> Answerer:
    trained = _template_of_training(Path(model))
    name = options.template or (trained.name if trained else _DEFAULT_TEMPLATE)
    if name not in (CHAT, *TEMPLATES) and not (trained and name == trained.name):
        raise RecipeError(
            f"lilift does not know the prompt template {name!r}",
            where="--template",
            remedy=f"choose from {', '.join([*TEMPLATES, CHAT])}",
        )
    if trained and name != trained.name:
        raise RecipeError(
            f"this LLM was trained with the prompt template {trained.name!r}, not {name!r}",
            where=model,
            remedy=f"leave --template out, or give {Path(model).parent} to use the LLM with its bridge",
        )
    device = find_device()
    share_cores(options.processes)
    llm_settings = LLMSettings(
        model=model,
        quantization=options.quantization or "none",
        dtype=options.dtype or ("bfloat16" if device.kind == "cuda" else "float32"),
        gradient_checkpointing=False,
    )
    llm = load_plain_llm(llm_settings, device=device.torch_device)
    template: Template | None = trained or TEMPLATES.get(name)
    if template is None:
        llm.chat_prompts([])  # raises at once if the LLM has no chat template
    most_new = options.max_new_tokens or _MAX_NEW_TOKENS
    batch_tokens = options.batch_tokens or _BATCH_TOKENS
    dequantise_if_it_fits(llm.llm, "auto", batch_tokens=batch_tokens)
    reader = _text_reader(llm, template, max_new_tokens=most_new, batch_tokens=batch_tokens, sampling=options.sampling)
    inputs = {"llm": llm_settings.model_dump(mode="json"), "template": name, "max_new_tokens": most_new}
    folder = Path("evaluations") / model.removeprefix(STAND_IN).strip("/").split("/")[-1]
    notes = []
    if trained:
        notes.append(f"{model} answers alone, without its bridge, in the prompt template of its training ({name})")
    elif options.template is None and llm.tokenizer.chat_template:
        notes.append(
            f"{model} has a chat template, but lilift uses {name!r}: give --template {CHAT} if the model was tuned to chat"
        )
    drawn = inputs | drawing(options)
    return Answerer(reader.responder, PLAIN, (), 0, drawn, folder, tuple(notes), text_reader=reader, bridged=False)


def _template_of_training(model: Path) -> Template | None:
    """The prompt template of the export if this LLM is its `hf/` folder; None for any other LLM."""
    description = model.parent / DESCRIPTION
    if model.name != "hf" or not description.is_file():
        return None
    try:
        return _template(sealed_records.read_record(description, remedy="export the run again")["template"])
    except (KeyError, TypeError, AttributeError):
        raise RunFolderError(
            "this file is damaged, or lilift did not write it", where=description, remedy="export the run again"
        ) from None
