"""How likely given answers are: what training's loss says of them, the same in every batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from lilift.data.examples import Row
from lilift.model.bridge import BridgedModel
from lilift.model.plain import PlainLLM

CONTINUATIONS = [(5, 9, 4), (5,), (8, 8)]


@pytest.mark.parametrize("batch_tokens", [1, 60, 10_000])
def test_a_bridge_finds_answers_as_likely_as_its_loss_says(
    bridge_of: Callable[..., BridgedModel], rows_of: Callable[..., list[Row]], batch_tokens: int
) -> None:
    bridge = bridge_of()
    rows = rows_of(bridge)
    found = bridge.log_likelihoods(rows, CONTINUATIONS, batch_tokens=batch_tokens)
    for row, values in zip(rows, found, strict=True):
        for ids, value in zip(CONTINUATIONS, values, strict=True):
            with torch.no_grad():
                loss = bridge.loss(bridge.collate([replace(row, response_ids=ids)]), num_items=1)
            assert value == pytest.approx(-loss.item(), abs=1e-4)


def test_an_llm_alone_finds_answers_as_likely_as_its_own_logits_say(bridge_of: Callable[..., Any]) -> None:
    bridge = bridge_of()
    llm = PlainLLM(bridge.causal_lm, bridge.llm_tokenizer, name="tiny")
    prompts = [[3, 4, 5, 6, 7], [9], [4, 4]]
    found = llm.log_likelihoods(prompts, CONTINUATIONS, batch_tokens=1000)
    for prompt, values in zip(prompts, found, strict=True):
        for ids, value in zip(CONTINUATIONS, values, strict=True):
            with torch.no_grad():
                logits = bridge.causal_lm(torch.tensor([[*prompt, *ids]])).logits[0].float().log_softmax(-1)
            expected = sum(logits[len(prompt) - 1 + place, token].item() for place, token in enumerate(ids))
            assert value == pytest.approx(expected, abs=1e-4)
