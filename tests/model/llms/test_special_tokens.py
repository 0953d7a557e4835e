"""The tokens that begin and end a text for an LLM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lilift.model.llms.special_tokens import special_tokens
from lilift.recipe.errors import ModelError


def test_special_tokens(llm_of: Callable[..., tuple[Any, Any]]) -> None:
    llm, tokenizer = llm_of("llama")
    tokens = special_tokens(llm, tokenizer, "x")
    assert (tokens.bos, tokens.eos, tokens.stop) == (0, 1, (1,))
    llm.generation_config.eos_token_id = [7, 1]
    assert special_tokens(llm, tokenizer, "x").stop == (1, 7), "what the model declares ends an answer too"
    llm, tokenizer = llm_of("qwen3")
    assert tokenizer.bos_token_id == 0
    assert special_tokens(llm, tokenizer, "x").bos is None, "a BOS token that the tokenizer never uses"
    tokenizer.eos_token = None
    assert special_tokens(llm, tokenizer, "x").eos == 1, "from the generation settings"
    llm.generation_config.eos_token_id = None
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        special_tokens(llm, tokenizer, "x")
