"""A bridged model behind the interface of evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from lilift.data.batches.batching import SequenceShape
from lilift.data.batches.tokenization import Limits, Tokenisation
from lilift.data.texts.examples import Row
from lilift.data.texts.prompt_templates import TEMPLATES
from lilift.evaluate.responders import BridgeResponder, CutsQuestions, StreamsResponses, seed_of
from lilift.model.decoding.generation import Reply


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
    """Answers with what it was given to read, last row first, and notes its limits and seeds."""

    states = None  # its encoder is on the card

    def __init__(self) -> None:
        self.limits: list[tuple[int, int]] = []
        self.seeds: list[int] = []

    def stream(
        self, rows: Sequence[Row], *, max_new_tokens: int, batch_tokens: int, sampling: Any, seeds: Any
    ) -> Iterator[Reply]:
        self.limits.append((max_new_tokens, batch_tokens))
        self.seeds += seeds
        assert sampling is None
        for place in reversed(range(len(rows))):
            row = rows[place]
            text = "".join(map(chr, row.encoder_ids[:-1])) + "|" + "".join(map(chr, row.prompt_ids))
            yield Reply(place, text, len(text), ended=True)


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
    assert responder.generate(["b? 2", "a? 1"]) == ["b? 2|b? 2\nAnswer:", "a? 1|a? 1\nAnswer:"]
    assert parrot.limits == [(7, 99)]


def test_a_question_beyond_the_encoders_limit_is_cut_and_flagged(responder: BridgeResponder) -> None:
    fits, too_long = "12345678", "123456789"
    assert isinstance(responder, CutsQuestions)
    assert responder.cuts([too_long, fits]) == [True, False]
    assert responder.generate([too_long, fits]) == ["12345678|123456789\nAnswer:", "12345678|12345678\nAnswer:"]


def test_each_sample_of_a_question_comes_with_the_question_and_has_a_seed_of_its_own(
    responder: BridgeResponder, parrot: Parrot
) -> None:
    assert isinstance(responder, StreamsResponses)
    found = list(responder.stream(["a", "b"], samples=3))
    assert [one.question for one in found] == [1, 1, 1, 0, 0, 0]
    assert {(one.question, one.text[0]) for one in found} == {(0, "a"), (1, "b")}
    assert len(set(parrot.seeds)) == 6
    assert parrot.seeds[3:] == [seed_of("b", sample) for sample in range(3)], "whatever else is asked"
    list(responder.stream(["b"], samples=3))
    assert parrot.seeds[6:] == parrot.seeds[3:6]


def test_where_memory_runs_out_the_other_rows_are_begun_again_with_half_the_batch(
    parrot: Parrot, responder: BridgeResponder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was complete is not asked again, and every answer stays with its own question."""
    questions = [f"q{number}" for number in range(7)]
    expected = responder.generate(questions)
    largest = parrot.limits[0][1]
    stream, asked = Parrot.stream, []

    def scarce(self: Parrot, rows: Sequence[Row], **limits: Any) -> Iterator[Reply]:
        asked.append(len(rows))
        for number, reply in enumerate(stream(self, rows, **limits)):
            if limits["batch_tokens"] > largest // 2 and number == 2:
                raise MemoryError
            yield reply

    monkeypatch.setattr(Parrot, "stream", scarce)
    assert responder.generate(questions) == expected
    assert asked == [7, 5]
    assert parrot.limits[-1][1] == largest // 2
