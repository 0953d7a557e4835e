"""What the two tokenizers of a recipe tell: its template, how texts become rows, and what only they can say of the data.

No model is imported here.
"""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from transformers import AutoConfig, PreTrainedTokenizerBase

from lilift.data.batches.control_tokens import ControlTokens, count_spelled
from lilift.data.batches.token_cache import TokenCache
from lilift.data.batches.tokenization import Limits, Tokenisation
from lilift.data.data_report import TokenizerFindings
from lilift.data.prepared_data import PreparedData
from lilift.data.texts.kept_template import kept_template
from lilift.data.texts.prompt_templates import CHAT, Template, template_of
from lilift.model.alignment_layer import sequence_shape
from lilift.model.encoders.encoder_tokenizer import (
    AbsentTokenizer,
    EncoderTokenizer,
    HuggingFaceTokenizer,
    load_encoder_tokenizer,
)
from lilift.model.llms.llm_tokenizer import load_llm_tokenizer
from lilift.model.llms.special_tokens import first_token
from lilift.model.sources import loading, model_folder_or_hub
from lilift.phases.long_rows import warnings_of_long_rows
from lilift.recipe.errors import LiliftError
from lilift.recipe.schema import EncoderSettings, Recipe


def rendered_template(recipe: Recipe) -> Template:
    """The prompt template of a new run. Only a chat template needs the LLM's tokenizer.

    Raises:
        DataError: the LLM has no chat template, or its chat template fails or hides the question.
        ModelError: lilift cannot load its tokenizer.
    """
    return template_of(recipe.data.template, load_llm_tokenizer(recipe.llm) if recipe.data.template == CHAT else None)


def examine_with_tokenizers(recipe: Recipe, run: Path | None, prepared: PreparedData) -> TokenizerFindings:
    """Find rows that are too long, and rows that spell out control tokens.

    lilift finds nothing while a model is not on this machine, because preparing data is no reason to download one. Each stage
    measures all of its rows when it begins.

    Args:
        recipe: names the models.
        run: the run folder, for its prompt template.
        prepared: the data.
    """
    models = [recipe.llm.model, *([recipe.encoder.model] if recipe.has_encoder else [])]
    if not all(map(_is_here, models)):
        return TokenizerFindings()
    try:
        llm, encoder = load_llm_tokenizer(recipe.llm), _encoder_tokenizer(recipe.encoder)
        tokenisation = tokenisation_of(recipe, run, encoder, llm)
    except LiliftError:  # the stage itself stops with this error
        return TokenizerFindings()
    tokenizers = [tokenisation.control_tokens]
    if isinstance(encoder, HuggingFaceTokenizer):  # an original SentencePiece file reads every spelling as text
        tokenizers.append(ControlTokens(encoder.tokenizer))
    texts = ((example.question, example.response) for example in prepared.examples)
    return TokenizerFindings(tuple(warnings_of_long_rows(recipe, tokenisation, prepared)), count_spelled(tokenizers, texts))


def tokenisation_of(
    recipe: Recipe, run: Path | None, encoder: EncoderTokenizer, llm: PreTrainedTokenizerBase, cache: TokenCache | None = None
) -> Tokenisation:
    """How texts become rows for a recipe's two tokenizers."""
    return Tokenisation(
        encoder=encoder,
        llm=llm,
        template=(kept_template(run / "data") if run else None) or template_of(recipe.data.template, llm),
        layout=recipe.alignment.layout,
        shape=sequence_shape(recipe.alignment),
        has_llm_bos=first_token(llm) is not None,
        limits=Limits(recipe.encoder.max_tokens, recipe.data.max_tokens, recipe.data.over_length),
        cache=cache,
    )


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
        config = AutoConfig.from_pretrained(location, revision=settings.revision, trust_remote_code=False)
        return load_encoder_tokenizer(location, settings.revision, config, settings.language_codes, text_prefix=settings.prefix)
