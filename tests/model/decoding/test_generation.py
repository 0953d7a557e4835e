"""Rows continued side by side: who takes whose place, what it may cost, and what is drawn."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from lilift.data.texts.examples import Row
from lilift.model.bridge import BridgedModel
from lilift.model.decoding.generation import Continuer
from lilift.model.decoding.sampling import Sampling, draw
from lilift.recipe.errors import ModelError

STOP = 7


class CountingLLM(transformers.LlamaForCausalLM):  # type: ignore[misc]
    """Notes how large every pass is: rows, columns looked at, and new tokens a row."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.passes: list[tuple[int, int, int]] = []

    def forward(self, *arguments: Any, **options: Any) -> Any:
        mask = options["attention_mask"]
        given_ids = options.get("input_ids")
        self.passes.append((*mask.shape, 1 if given_ids is not None else mask.shape[1]))
        return super().forward(*arguments, **options)


@pytest.fixture(scope="module")
def llm() -> CountingLLM:
    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        vocab_size=24,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.6,
        max_position_embeddings=512,
    )
    return CountingLLM(config).eval()


def prompts(count: int) -> list[list[int]]:
    draw_ids = random.Random(5)
    return [[draw_ids.randrange(24) for _ in range(draw_ids.randrange(1, 30))] for _ in range(count)]


def embedder(llm: Any, texts: Sequence[Sequence[int]]) -> Callable[[Sequence[int]], Any]:
    def embed(chosen: Sequence[int]) -> Any:
        longest = max(len(texts[row]) for row in chosen)
        ids = torch.tensor([[0] * (longest - len(texts[row])) + list(texts[row]) for row in chosen])
        mask = torch.tensor([[False] * (longest - len(texts[row])) + [True] * len(texts[row]) for row in chosen])
        ids, mask = ids.to(llm.device), mask.to(llm.device)
        return llm.get_input_embeddings()(ids), mask, (mask.cumsum(-1) - 1).clamp_min(0)

    return embed


def continued(llm: Any, texts: list[list[int]], seeds: Sequence[int] | None = None, **options: Any) -> list[tuple[Any, ...]]:
    continuer = Continuer(llm, stop=[STOP], **{"max_new_tokens": 30, "budget": 10_000, **options})
    found = list(continuer.run([len(text) for text in texts], embedder(llm, texts), seeds=seeds))
    assert sorted(one.row for one in found) == list(range(len(texts))), "every row comes once"
    return [(one.ids, one.ended) for one in sorted(found, key=lambda one: one.row)]


def test_rows_that_take_the_places_of_others_are_continued_as_if_alone(
    llm: CountingLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = prompts(20)
    alone = [continued(llm, [text])[0] for text in texts]
    lengths = sorted(len(ids) for ids, _ in alone)
    assert lengths[0] < 10
    assert lengths[-1] == 30
    monkeypatch.setattr("lilift.model.decoding.key_value_cache.BLOCK", 7)  # rebuilt in the middle of answers too
    assert {ended for _, ended in alone} == {True, False}
    for options in ({}, {"budget": 400}, {"budget": 1}, {"most_rows": 3}, {"most_rows": 9, "budget": 800}):
        assert continued(llm, texts, **options) == alone, options


def test_nobody_waits_for_the_slowest(llm: CountingLLM) -> None:
    """Passes and places are few: far fewer than in fixed groups, each of which waits for its longest row."""
    texts = prompts(48)
    wanted = sum(len(ids) + ended for ids, ended in continued(llm, texts))
    llm.passes.clear()
    continued(llm, texts, most_rows=16)
    places = sum(rows for rows, _, new in llm.passes if new == 1)
    assert places < 1.35 * wanted, "at most a third of the places were of rows that had ended"
    by_length = sorted(texts, key=len, reverse=True)
    answers = continued(llm, by_length)
    fixed = sum(16 * max(len(ids) + 1 for ids, _ in answers[start : start + 16]) for start in range(0, 48, 16))
    assert places < 0.75 * fixed


@settings(max_examples=15)
@given(st.integers(1, 400), st.integers(1, 12), st.none() | st.integers(1, 6))
def test_the_budget_holds(budget: int, most_new: int, most_rows: int | None) -> None:
    torch.manual_seed(0)
    model = CountingLLM(
        transformers.LlamaConfig(
            vocab_size=24, hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=1, initializer_range=0.9
        )
    ).eval()
    texts = prompts(7)
    continued(model, texts, budget=budget, most_rows=most_rows, max_new_tokens=most_new)
    for rows, columns, _ in model.passes:
        assert rows * columns <= budget or rows == 1
        assert most_rows is None or rows <= most_rows


def test_what_is_drawn_is_the_rows_own_and_its_seeds(llm: CountingLLM) -> None:
    texts = prompts(6) * 2
    sampling = Sampling(temperature=1.0, top_p=0.9, seed=4)
    seeds = [*range(6), *range(100, 106)]
    together = continued(llm, texts, seeds, sampling=sampling)
    assert together == continued(llm, texts, seeds, sampling=sampling, most_rows=2)
    assert together == [continued(llm, [text], [seed], sampling=sampling)[0] for text, seed in zip(texts, seeds, strict=True)]
    assert together[:6] != together[6:], "another seed draws other tokens"
    assert together != continued(llm, texts, seeds, sampling=replace(sampling, seed=5))
    with pytest.raises(ValueError, match="a seed for every row"):
        continued(llm, texts, sampling=sampling)


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().expand(4000, -1)
    uniforms = torch.arange(4000, dtype=torch.float64) / 4000

    def shares(**options: float) -> list[float]:
        drawn = draw(logits, uniforms, Sampling(**{"temperature": 1.0, "top_p": 1.0, **options}))
        return [round(float(share), 2) for share in torch.bincount(drawn, minlength=4) / 4000]

    assert shares() == [0.5, 0.3, 0.15, 0.05]
    assert shares(top_p=0.8) == [0.63, 0.37, 0, 0], "the likeliest that have 0.8 together"
    assert shares(top_p=0.81) == [0.53, 0.32, 0.16, 0]
    assert shares(top_p=0.01) == [1, 0, 0, 0]
    assert shares(temperature=0.5) == [0.69, 0.25, 0.06, 0.01]
    last = draw(torch.zeros(1, 5), torch.tensor([1 - 1e-17], dtype=torch.float64), Sampling(1.0, 1.0))
    assert last.tolist() == [4]


def test_a_stop_token_ends_an_answer_and_is_no_part_of_it(llm: CountingLLM) -> None:
    text = next(text for text in prompts(30) if len(continued(llm, [text])[0][0]) > 4)
    ids, _ = continued(llm, [text])[0]
    stop = ids[3]
    shorter = Continuer(llm, stop=[STOP, stop], max_new_tokens=30, budget=1000)
    (found,) = shorter.run([len(text)], embedder(llm, [text]))
    assert (found.ids, found.ended) == (ids[: ids.index(stop)], True)
    (cut,) = Continuer(llm, stop=[STOP], max_new_tokens=2, budget=1000).run([len(text)], embedder(llm, [text]))
    assert (cut.ids, cut.ended) == (ids[:2], False)


def test_nothing_to_continue(llm: CountingLLM) -> None:
    assert continued(llm, []) == []


def test_an_llm_with_another_kind_of_memory_is_refused(llm: CountingLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm.config, "layer_types", ["linear_attention", "full_attention"], raising=False)
    with pytest.raises(ModelError, match="cannot generate with: linear_attention"):
        Continuer(llm, stop=[STOP], max_new_tokens=2, budget=10)


def test_a_bridge_streams_its_answers_and_tells_how_they_ended(
    bridge_of: Callable[..., BridgedModel], rows_of: Callable[..., list[Row]]
) -> None:
    bridge = bridge_of()
    bridge.train()
    rows = rows_of(bridge)
    stream = bridge.stream(rows, max_new_tokens=6, batch_rows=2)
    first = next(stream)
    assert first.row in range(4)
    stream.close()
    assert bridge.training, "a stream that is given up leaves the modes as they were"
    replies = sorted(bridge.stream(rows, max_new_tokens=6), key=lambda reply: reply.row)
    assert [reply.text for reply in replies] == bridge.generate(rows, max_new_tokens=6)
    assert all(reply.tokens == 6 or reply.ended for reply in replies)


def test_special_tokens_are_not_in_the_text(bridge_of: Callable[..., BridgedModel], tmp_path: Path) -> None:  # noqa: ARG001
    from lilift.model.decoding.generation import Continuation, reply_of

    bridge = bridge_of()
    spoken = bridge.llm_tokenizer(" mary has", add_special_tokens=False).input_ids
    reply = reply_of(Continuation(3, (bridge.tokens.bos or 0, *spoken), ended=True), bridge.llm_tokenizer)
    assert (reply.row, reply.text, reply.tokens) == (3, " mary has", len(spoken) + 1)
