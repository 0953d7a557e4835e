"""A responder behind the lm-eval harness's interface: what a task asks for, and what it cannot have."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="needs lilift[lm-eval]")

from lilift.evaluate.harness_model import HarnessModel
from lilift.evaluate.response_stream import Response
from lilift.model.decoding.likelihood import Likelihood
from lilift.model.decoding.sampling import Sampling
from lilift.recipe.errors import RecipeError


@dataclass
class Asked:
    """A request, as far as a model looks at it."""

    args: tuple[Any, ...]


@dataclass
class Echo:
    """Says back what it is asked and how, last question first; finds an answer as unlikely as it is long."""

    settings: tuple[int | None, Sampling | None] = (None, None)
    asked: list[tuple[tuple[int | None, Sampling | None], list[str], int]] = field(default_factory=list)

    def with_settings(self, *, max_new_tokens: int | None, sampling: Sampling | None) -> Echo:
        return Echo((max_new_tokens, sampling), self.asked)

    def generate(self, questions: Sequence[str]) -> list[str]:
        raise AssertionError(f"asked without settings: {questions}")

    def stream(self, questions: Sequence[str], *, samples: int) -> Iterator[Response]:
        self.asked.append((self.settings, list(questions), samples))
        for place in reversed(range(len(questions))):
            for sample in range(samples):
                yield Response(place, f"{questions[place]}. {sample} Question: next\n\nmore")

    def likelihoods(self, questions: Sequence[str], answers: Sequence[Sequence[str]]) -> list[list[Likelihood]]:
        return [
            [Likelihood(-float(len(answer)), greedy=answer in question) for answer in given]
            for question, given in zip(questions, answers, strict=True)
        ]

    def cuts(self, questions: Sequence[str]) -> list[bool]:
        return [len(question) > 8 for question in questions]


def wanted(context: str, **settings: Any) -> Asked:
    return Asked((context, settings))


def generated(echo: Echo, *requests: Asked) -> list[str]:
    return HarnessModel(echo).generate_until(list(requests), disable_tqdm=True)


def test_a_response_ends_before_the_first_of_the_stop_texts() -> None:
    found = generated(Echo(), wanted("a", until=["\n\n", "Question:"]), wanted("b", until="."), wanted("c"))
    assert found == ["a. 0 ", "b", "c. 0 Question: next\n\nmore"]


def test_requests_are_answered_in_order_each_in_the_manner_of_its_task() -> None:
    echo = Echo()
    greedy = {"until": ["."], "do_sample": False, "temperature": 0.0, "top_k": 50}
    drawn = {"until": ["Q"], "do_sample": True, "temperature": 0.5, "top_p": 0.9}
    found = generated(
        echo, wanted("a", **greedy), wanted("b", **greedy, max_gen_toks=9), wanted("c", **drawn), wanted("d", **greedy)
    )
    assert [text[0] for text in found] == ["a", "b", "c", "d"]
    assert echo.asked == [
        ((None, None), ["a", "d"], 1),
        ((9, None), ["b"], 1),
        ((None, Sampling(0.5, 0.9, 0)), ["c"], 1),
    ]


def test_repeats_are_drawn_apart_and_what_is_greedy_is_answered_once() -> None:
    echo = Echo()
    assert generated(echo, *[wanted("a", until=["Q"])] * 3) == ["a. 0 "] * 3
    drawn = generated(echo, *[wanted("a", until=["Q"], temperature=1.0)] * 3)
    assert sorted(drawn) == ["a. 0 ", "a. 1 ", "a. 2 "]
    assert [samples for _, _, samples in echo.asked] == [1, 3]


def test_a_setting_that_would_change_responses_is_not_passed_over() -> None:
    with pytest.raises(RecipeError, match="a generation setting that lilift does not support: num_beams"):
        generated(Echo(), wanted("a", num_beams=4))
    with pytest.raises(RecipeError, match="does not support: top_k"):
        generated(Echo(), wanted("a", do_sample=True, temperature=0.7, top_k=5))


def test_answers_are_ranked_in_the_order_of_the_requests() -> None:
    requests = [Asked(args) for args in (("say no", "no"), ("say yes", "yes"), ("say no", "maybe"))]
    found = HarnessModel(Echo()).loglikelihood(requests, disable_tqdm=True)
    assert found == [(-2.0, True), (-3.0, True), (-5.0, False)]


def test_contexts_that_the_encoder_reads_in_part_are_counted_aloud(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        generated(Echo(), wanted("short"), wanted("a long context"), wanted("a long context", max_gen_toks=3))
    assert "1 of 2 contexts are longer than the encoder can read" in caplog.text


def test_what_a_bridged_model_cannot_do_is_one_clear_line() -> None:
    class Writes:
        def generate(self, questions: Sequence[str]) -> list[str]:
            return list(questions)

    with pytest.raises(RecipeError, match="perplexity of texts, but a bridged model only answers questions"):
        HarnessModel(Echo()).loglikelihood_rolling([Asked(("text",))])
    with pytest.raises(RecipeError, match="leave --apply_chat_template out"):
        HarnessModel(Echo()).chat_template(True)
    with pytest.raises(RecipeError, match="cannot compute how likely an answer is"):
        HarnessModel(Writes()).loglikelihood([Asked(("a", "b"))])
