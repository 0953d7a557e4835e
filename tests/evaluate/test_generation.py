"""A bridged model behind the interface of evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lilift.data.batching import SequenceShape
from lilift.data.examples import Row
from lilift.data.templates import TEMPLATES
from lilift.data.tokenization import Limits, Tokenisation
from lilift.evaluate.generation import BridgeResponder, CutsQuestions


class LetterTokenizer:
    """One token a character, and an end token 0: enough to see what reaches the model."""

    unknown_id = None
    eos_token_id: int | None = 0

    def encode(self, text: str, max_tokens: int | None = None) -> list[int]:
        letters = [ord(letter) for letter in text]
        return [*letters, 0] if max_tokens is None else [*letters[: max_tokens - 1], 0]

    def __call__(self, text: list[str], **_options: bool) -> Any:
        return {"input_ids": [[ord(letter) for letter in one] for one in text]}


class Parrot:
    """Answers with what it was given to read, and notes its limits."""

    def __init__(self) -> None:
        self.limits: list[tuple[int, int]] = []

    def generate(self, rows: Sequence[Row], *, max_new_tokens: int, batch_tokens: int) -> list[str]:
        self.limits.append((max_new_tokens, batch_tokens))
        return ["".join(map(chr, row.encoder_ids[:-1])) + "|" + "".join(map(chr, row.prompt_ids)) for row in rows]


@pytest.fixture
def parrot() -> Parrot:
    return Parrot()


@pytest.fixture
def responder(parrot: Parrot) -> BridgeResponder:
    tokenisation = Tokenisation(
        encoder=LetterTokenizer(),
        llm=LetterTokenizer(),
        template=TEMPLATES["plain"],
        layout="soft+text",
        shape=SequenceShape(has_bos=True, has_eos=True, latents=None),
        has_llm_bos=True,
        limits=Limits(source=9, sequence=100, policy="error"),
    )
    return BridgeResponder(parrot, tokenisation, max_new_tokens=7, batch_tokens=99)


def test_questions_reach_the_model_in_order_with_the_prompt_of_training(responder: BridgeResponder, parrot: Parrot) -> None:
    assert responder.answer(["b? 2", "a? 1"]) == ["b? 2|b? 2\nAnswer:", "a? 1|a? 1\nAnswer:"]
    assert parrot.limits == [(7, 99)]


def test_a_question_beyond_the_encoders_limit_is_cut_and_flagged(responder: BridgeResponder) -> None:
    fits, too_long = "12345678", "123456789"
    assert isinstance(responder, CutsQuestions)
    assert responder.cuts([too_long, fits]) == [True, False]
    assert responder.answer([too_long, fits]) == ["12345678|123456789\nAnswer:", "12345678|12345678\nAnswer:"]
