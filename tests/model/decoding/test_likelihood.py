"""How likely given answers are: what training's loss says of them, the same in every batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from lilift.data.texts.examples import Row
from lilift.model.bridge import BridgedModel
from lilift.model.decoding import likelihood
from lilift.model.llms.plain_llm import PlainLLM

CONTINUATIONS = [(5, 9, 4), (5,), (8, 8), (7, 6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4)]


@pytest.mark.parametrize(
    ("llm", "batch_tokens"), [("llama", 1), ("llama", 60), ("llama", 10_000), ("gemma3", 90), ("gpt2", 90)]
)
def test_a_bridge_finds_answers_as_likely_as_its_loss_says(
    bridge_of: Callable[..., BridgedModel], rows_of: Callable[..., list[Row]], llm: str, batch_tokens: int
) -> None:
    """Each row has answers of its own, one more than the row before it, so that rows of a batch run out of them in turn."""
    bridge = bridge_of(llm=llm)
    rows = rows_of(bridge)
    asked = [CONTINUATIONS[: 1 + place % len(CONTINUATIONS)] for place in range(len(rows))]
    found = bridge.log_likelihoods(rows, asked, batch_tokens=batch_tokens)
    for row, continuations, values in zip(rows, asked, found, strict=True):
        for ids, value in zip(continuations, values, strict=True):
            with torch.no_grad():
                loss = bridge.loss(bridge.collate([replace(row, response_ids=ids)]), num_items=1)
            assert value.log_probability == pytest.approx(-loss.item(), abs=1e-4)


def test_a_large_vocabulary_makes_batches_smaller_and_changes_no_value(
    bridge_of: Callable[..., BridgedModel], rows_of: Callable[..., list[Row]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = bridge_of()
    rows = rows_of(bridge)
    asked = [CONTINUATIONS] * len(rows)
    expected = bridge.log_likelihoods(rows, asked, batch_tokens=10_000)
    sizes: list[int] = []
    read = likelihood._ReadPrompts._read

    def counted(self: Any, mask: torch.Tensor, **inputs: Any) -> torch.Tensor:
        sizes.append(len(mask))
        return read(self, mask, **inputs)

    monkeypatch.setattr(likelihood._ReadPrompts, "_read", counted)
    following = max(map(len, CONTINUATIONS)) - 1
    monkeypatch.setattr(likelihood, "MOST_LOGITS", 2 * following * bridge.causal_lm.config.vocab_size)
    found = bridge.log_likelihoods(rows, asked, batch_tokens=10_000)
    assert max(sizes) == 2
    for one, other in zip(found, expected, strict=True):
        assert [value.log_probability for value in one] == pytest.approx([value.log_probability for value in other], abs=1e-4)


def test_what_a_model_would_write_itself_is_greedy_and_what_it_would_not_is_not(bridge_of: Callable[..., Any]) -> None:
    bridge = bridge_of()
    llm = PlainLLM(bridge.causal_lm, bridge.llm_tokenizer, name="tiny")
    with torch.no_grad():
        first = int(bridge.causal_lm(torch.tensor([[3, 4, 5]])).logits[0, -1].argmax())
        second = int(bridge.causal_lm(torch.tensor([[3, 4, 5, first]])).logits[0, -1].argmax())
    other = (second + 1) % 50
    asked = [(first,), (first, second), (first, other), ()]
    (found,) = llm.log_likelihoods([[3, 4, 5]], [asked], batch_tokens=100)
    assert [value.greedy for value in found] == [True, True, False, True]
    assert found[3].log_probability == 0, "saying nothing is certain"


def test_an_llm_alone_finds_answers_as_likely_as_its_own_logits_say(bridge_of: Callable[..., Any]) -> None:
    bridge = bridge_of()
    llm = PlainLLM(bridge.causal_lm, bridge.llm_tokenizer, name="tiny")
    prompts = [[3, 4, 5, 6, 7], [9], [4, 4]]
    found = llm.log_likelihoods(prompts, [CONTINUATIONS] * len(prompts), batch_tokens=1000)
    for prompt, values in zip(prompts, found, strict=True):
        for ids, value in zip(CONTINUATIONS, values, strict=True):
            with torch.no_grad():
                logits = bridge.causal_lm(torch.tensor([[*prompt, *ids]])).logits[0].float().log_softmax(-1)
            expected = sum(logits[len(prompt) - 1 + place, token].item() for place, token in enumerate(ids))
            assert value.log_probability == pytest.approx(expected, abs=1e-4)
