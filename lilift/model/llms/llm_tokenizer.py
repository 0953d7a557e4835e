"""Loads the LLM's tokenizer. This imports no model: commands that only count tokens start in half the time."""

from __future__ import annotations

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from lilift.model.sources import check_tokenizer, loading, model_folder_or_hub
from lilift.recipe.schema import LLMSettings


def load_llm_tokenizer(settings: LLMSettings) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a recipe's LLM.

    Raises:
        ModelError: lilift cannot find or use it.
    """
    location = model_folder_or_hub(settings.model)
    with loading(settings.model, what="LLM's tokenizer"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            location, revision=settings.revision, trust_remote_code=settings.trust_remote_code
        )
        check_tokenizer(tokenizer, settings.model, what="LLM")
    return tokenizer
