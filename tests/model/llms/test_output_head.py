"""How hidden states become logits, and models that read more than embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig
from torch import nn

from lilift.model.llms.lora import add_adapter
from lilift.model.llms.output_head import backbone_of, check_reads_embeddings, find_output_head
from lilift.recipe.errors import ModelError

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "cohere", "granite")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_head_is_found_with_its_scale_and_cap(name: str, llm_of: Callable[..., tuple[Any, Any]]) -> None:
    llm, _ = llm_of(name)
    head = find_output_head(llm)
    assert head is not None
    assert head.scale == {"cohere": 0.25, "granite": 0.25}.get(name, 1.0)
    assert head.softcap == {"gemma2": 2.0, "gemma3": 3.0}.get(name)
    ids = torch.tensor([[5, 9, 200, 31]])
    with torch.no_grad():
        hidden = backbone_of(llm)(inputs_embeds=llm.get_input_embeddings()(ids)).last_hidden_state
        torch.testing.assert_close(head.logits(hidden), llm(input_ids=ids).logits)


def test_an_unusual_head_is_left_to_the_model(llm_of: Callable[..., tuple[Any, Any]]) -> None:
    llm, _ = llm_of("llama")

    class Normalised(nn.Linear):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(hidden, nn.functional.normalize(self.weight))

    plain = llm.lm_head
    llm.lm_head = Normalised(plain.in_features, plain.out_features, bias=False)
    assert find_output_head(llm) is None
    llm.lm_head = plain
    forward = llm.forward
    llm.forward = lambda *args, **kwargs: _with_logits(forward(*args, **kwargs), lambda logits: logits / 7)
    assert find_output_head(llm) is None, "a convention that nothing declares"


def test_an_adapted_head_is_left_to_the_model(llm_of: Callable[..., tuple[Any, Any]]) -> None:
    llm, _ = llm_of("llama")
    adapted = add_adapter(llm, LoraConfig(target_modules=["lm_head"], task_type="CAUSAL_LM"))
    assert find_output_head(adapted.get_base_model()) is None


def test_a_model_that_reads_more_than_embeddings_is_refused(llm_of: Callable[..., tuple[Any, Any]]) -> None:
    llm, _ = llm_of("llama")
    check_reads_embeddings(llm, "some model")
    forward = llm.forward

    def reads_ids(*args: Any, input_ids: torch.Tensor | None = None, **kwargs: Any) -> Any:
        outputs = forward(*args, input_ids=input_ids, **kwargs)
        return outputs if input_ids is None else _with_logits(outputs, lambda logits: logits + input_ids[..., None])

    llm.forward = reads_ids
    with pytest.raises(ModelError, match="some model: the LLM reads more than its input embeddings"):
        check_reads_embeddings(llm, "some model")


def _with_logits(outputs: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    outputs.logits = change(outputs.logits)
    return outputs
