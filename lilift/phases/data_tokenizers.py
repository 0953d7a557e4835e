"""What the data phase needs of the two tokenizers: the LLM's chat template, and the control tokens that texts may spell out."""

from __future__ import annotations

from transformers import AutoConfig, PreTrainedTokenizerBase

from lilift.data.batches.control_tokens import ControlTokens
from lilift.data.texts.prompt_templates import CHAT, Template, template_of
from lilift.model.encoders.encoder_tokenizer import HuggingFaceTokenizer, load_encoder_tokenizer
from lilift.model.llms.llm import load_llm_tokenizer
from lilift.model.sources import loading, model_folder_or_hub
from lilift.recipe.errors import ModelError
from lilift.recipe.schema import Recipe


def rendered_template(recipe: Recipe) -> Template:
    """The prompt template of a run that begins; only a chat template needs the LLM's tokenizer.

    Raises:
        DataError: the LLM has no chat template, or one that fails or hides the question.
        ModelError: its tokenizer cannot be loaded.
    """
    return template_of(recipe.data.template, load_llm_tokenizer(recipe.llm) if recipe.data.template == CHAT else None)


def control_tokens_of(recipe: Recipe) -> list[ControlTokens]:
    """The control tokens of both tokenizers, as far as they can be loaded: whoever prepares data may have no models yet."""
    tokenizers: list[PreTrainedTokenizerBase] = []
    try:
        tokenizers.append(load_llm_tokenizer(recipe.llm))
        if recipe.has_encoder:
            location = model_folder_or_hub(recipe.encoder.model)
            with loading(recipe.encoder.model, what="encoder's configuration"):
                config = AutoConfig.from_pretrained(location, revision=recipe.encoder.revision)
            encoder = load_encoder_tokenizer(location, recipe.encoder.revision, config)
            # An original SentencePiece file has no spellings of control tokens: it reads all of them as text.
            if isinstance(encoder, HuggingFaceTokenizer):
                tokenizers.append(encoder.tokenizer)
    except ModelError:
        pass  # whatever is wrong with the models, the stage that loads them says it
    return [ControlTokens(tokenizer) for tokenizer in tokenizers]
