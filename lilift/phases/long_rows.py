"""How many rows are too long for a recipe's limits, measured with the tokenizers alone before any stage begins."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from transformers import AutoConfig

from lilift.data.losses import warnings_of_lengths
from lilift.data.prepare import PreparedData
from lilift.data.stage_rows import align_rows, transfer_rows
from lilift.model.encoders.encoder import AbsentTokenizer
from lilift.model.encoders.encoder_tokenizer import EncoderTokenizer, load_encoder_tokenizer
from lilift.model.llms.llm import load_llm_tokenizer
from lilift.model.sources import loading, model_folder_or_hub
from lilift.phases.answering.systems import tokenisation_of
from lilift.recipe.errors import DataError, LiliftError
from lilift.recipe.schema import EncoderSettings, Recipe

_MEASURED = 2000
"""Rows of a stage that are measured, spread evenly over it: enough to tell 5% from 4%."""


def warnings_of_long_rows(recipe: Recipe, prepared: PreparedData) -> list[str]:
    """A warning for each stage and limit that more than 5% of the rows exceed.

    There is none while a model is not on this machine: this is no reason to download it. Each stage measures all of its rows
    when it begins.
    """
    models = [recipe.llm.model, *([recipe.encoder.model] if recipe.has_encoder else [])]
    if not all(map(_is_here, models)):
        return []
    try:
        tokenisation = tokenisation_of(recipe, _encoder_tokenizer(recipe.encoder), load_llm_tokenizer(recipe.llm))
    except LiliftError:  # the stage itself stops for it
        return []
    limits, policy = tokenisation.limits, recipe.data.over_length
    tokenisation.limits = type(limits)(limits.source, limits.sequence, "drop")  # counts what other policies cut or refuse
    warnings = []
    for stage in recipe.stages:
        rows = (align_rows if stage == "align" else transfer_rows)(prepared, recipe, tokenisation)
        try:
            lengths = rows.lengths(at_most=_MEASURED).as_dict()
        except DataError:  # a row that the stage refuses, with more to say
            continue
        warnings += warnings_of_lengths(stage, lengths, (limits.source, limits.sequence), policy)
    return warnings


def _is_here(name: str) -> bool:
    """Whether a model's configuration is on this machine, so that its tokenizer most likely is too."""
    try:
        location = model_folder_or_hub(name)
    except LiliftError:
        return False
    return Path(location).is_dir() or isinstance(try_to_load_from_cache(location, "config.json"), str)


def _encoder_tokenizer(settings: EncoderSettings) -> EncoderTokenizer:
    if settings.model == "none":
        return AbsentTokenizer()
    location = model_folder_or_hub(settings.model)
    with loading(settings.model, what="encoder's tokenizer"):
        config = AutoConfig.from_pretrained(location, revision=settings.revision)
        return load_encoder_tokenizer(location, settings.revision, config)
