"""What can be evaluated: anything that answers questions.

`Responder` is all that an evaluation asks for. `StreamsResponses` is what models in this process offer beyond it: each response
as soon as it is complete, and several drawn responses to one question. `BridgeResponder` and `PlainResponder` are a bridged
model and an LLM without a bridge behind it.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from lilift.model.decoding.sampling import Sampling
from lilift.recipe.errors import TrainingError

LEAST_BATCH_TOKENS = 64  # a budget as small as this lets rows run one by one

# They import torch, and exports are evaluated where there is none.
if TYPE_CHECKING:
    from lilift.data.batches.tokenization import LengthReport, Tokenisation
    from lilift.data.texts.examples import Row
    from lilift.model.decoding.generation import Reply
    from lilift.model.decoding.likelihood import Likelihood
    from lilift.model.encoders.encoder_states import EncoderStates


@dataclass(frozen=True)
class Response:
    """One response to one question.

    Attributes:
        question: its place among the questions asked.
        text: the response.
        tokens: how many the model said; None where it is not known.
        ended: whether the model ended it, or it was cut at the longest response; None where it is not known.
    """

    question: int
    text: str
    tokens: int | None = None
    ended: bool | None = None


class Responder(Protocol):
    """Anything that answers questions."""

    def generate(self, questions: Sequence[str]) -> list[str]:
        """One response for each question, in the same order."""


@runtime_checkable
class StreamsResponses(Protocol):
    """A responder that gives each response as soon as it is complete."""

    def stream(self, questions: Sequence[str], *, samples: int) -> Iterator[Response]:
        """`samples` responses for each question, in the order they are completed."""


@runtime_checkable
class CutsQuestions(Protocol):
    """A responder with a longest question."""

    def cuts(self, questions: Sequence[str]) -> list[bool]:
        """For each question, whether it is too long and read only in part."""


@runtime_checkable
class TakesSettings(Protocol):
    """A responder that can be told to answer in another way."""

    def with_settings(self, *, max_new_tokens: int | None, sampling: Sampling | None) -> StreamsResponses:
        """The same model; `max_new_tokens` None leaves the longest response as it is, `sampling` None takes the likeliest."""


class Streams(Protocol):
    """What is asked of a model: the part of `BridgedModel` and `PlainLLM` that generates."""

    def stream(
        self,
        rows: Sequence[Any],
        *,
        max_new_tokens: int,
        batch_tokens: int,
        sampling: Sampling | None,
        seeds: Sequence[int] | None,
    ) -> Iterator[Reply]:
        """A reply to every row, each as soon as it is complete; the same whatever the batch."""

    def log_likelihoods(
        self, rows: Sequence[Any], continuations: Sequence[Sequence[Sequence[int]]], *, batch_tokens: int
    ) -> list[list[Likelihood]]:
        """For each row how likely each of its continuations is; the same whatever the batch."""


class Bridge(Streams, Protocol):
    """What is asked of a `BridgedModel`."""

    states: EncoderStates | None


class _ModelResponder:
    """Answers with a model of this process: batched by a budget of tokens, greedy or drawn.

    Args:
        model: the model.
        rows_of: turns questions into the rows that it reads.
        continuations_of: turns answers into the token ids that follow a row.
        max_new_tokens: longest response.
        batch_tokens: tokens of prompts and responses side by side.
        sampling: None takes the likeliest token.
    """

    def __init__(
        self,
        model: Streams,
        rows_of: Callable[[Sequence[str]], Sequence[Any]],
        continuations_of: Callable[[Sequence[str]], Sequence[Sequence[int]]],
        *,
        max_new_tokens: int,
        batch_tokens: int,
        sampling: Sampling | None = None,
    ) -> None:
        self._model = model
        self._rows_of = rows_of
        self._continuations_of = continuations_of
        self._max_new_tokens = max_new_tokens
        self._batch_tokens = batch_tokens
        self._sampling = sampling

    def with_settings(self, *, max_new_tokens: int | None, sampling: Sampling | None) -> _ModelResponder:
        """The same model answering in another way; see `TakesSettings`."""
        other = copy.copy(self)
        other._max_new_tokens = max_new_tokens or self._max_new_tokens
        other._sampling = sampling
        return other

    def generate(self, questions: Sequence[str]) -> list[str]:
        """One response for each question, in the same order."""
        texts = [""] * len(questions)
        for response in self.stream(questions):
            texts[response.question] = response.text
        return texts

    def stream(self, questions: Sequence[str], *, samples: int = 1) -> Iterator[Response]:
        """`samples` responses for each question, in the order they are completed.

        What is drawn depends on the sampling's seed, the question and the sample's number: not on what else is asked.
        """
        rows = [row for row in self._rows_of(questions) for _ in range(samples)]
        seeds = [seed_of(question, sample) for question in questions for sample in range(samples)]
        for row, reply in self._replies(rows, seeds):
            yield Response(row // samples, reply.text, reply.tokens, reply.ended)

    def _replies(self, rows: Sequence[Any], seeds: Sequence[int]) -> Iterator[tuple[int, Reply]]:
        """Every row's reply. Where memory runs out, rows that are not complete are begun again, half as many side by side."""
        from lilift.memory.guard import free_memory, is_out_of_memory  # imports torch

        waiting = list(range(len(rows)))
        while waiting:
            complete: set[int] = set()
            try:
                for reply in self._stream([rows[index] for index in waiting], [seeds[index] for index in waiting]):
                    complete.add(reply.row)
                    yield waiting[reply.row], reply
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if self._batch_tokens <= LEAST_BATCH_TOKENS:
                    raise TrainingError(
                        "memory is exhausted even by a single answer",
                        where="evaluate",
                        remedy="close what else uses the memory, or lower evaluate.max_new_tokens",
                    ) from None
                self._batch_tokens //= 2
            else:
                return
            free_memory()
            waiting = [index for place, index in enumerate(waiting) if place not in complete]

    def _stream(self, rows: Sequence[Any], seeds: Sequence[int]) -> Iterator[Reply]:
        return self._model.stream(
            rows,
            max_new_tokens=self._max_new_tokens,
            batch_tokens=self._batch_tokens,
            sampling=self._sampling,
            seeds=seeds,
        )

    def likelihoods(self, questions: Sequence[str], answers: Sequence[Sequence[str]]) -> list[list[Likelihood]]:
        """For each question how likely each of the answers given for it is."""
        texts = list(dict.fromkeys(answer for given in answers for answer in given))
        ids = dict(zip(texts, self._continuations_of(texts), strict=True))
        continuations = [[ids[answer] for answer in given] for given in answers]
        return self._model.log_likelihoods(self._rows_of(questions), continuations, batch_tokens=self._batch_tokens)


class BridgeResponder(_ModelResponder):
    """Answers with a bridged model.

    Args:
        bridge: the model.
        tokenisation: turns questions into rows with the template and limits of training.
        max_new_tokens: longest response.
        batch_tokens: tokens of prompts and responses side by side.
        sampling: None takes the likeliest token.
    """

    def __init__(
        self,
        bridge: Bridge,
        tokenisation: Tokenisation,
        *,
        max_new_tokens: int,
        batch_tokens: int,
        sampling: Sampling | None = None,
    ) -> None:
        from lilift.data.batches.tokenization import continuation_ids

        opener = tokenisation.template.openers["respond"]
        super().__init__(
            bridge,
            partial(_rows_of_questions, bridge, tokenisation),
            lambda answers: continuation_ids(tokenisation.control_tokens, opener, answers, tokenisation.template.separator),
            max_new_tokens=max_new_tokens,
            batch_tokens=batch_tokens,
            sampling=sampling,
        )
        self._tokenisation = tokenisation

    def cuts(self, questions: Sequence[str]) -> list[bool]:
        """For each question, whether it has more tokens than the encoder reads."""
        return [self._counted(question).truncated_source > 0 for question in questions]

    def _counted(self, question: str) -> LengthReport:
        from lilift.data.batches.tokenization import LengthReport

        alone = replace(self._tokenisation, report=LengthReport())
        alone.prompts([question])
        return alone.report


class PlainResponder(_ModelResponder):
    """Answers with an LLM that reads the question itself: the baseline without a bridge."""


def _rows_of_questions(bridge: Bridge, tokenisation: Tokenisation, questions: Sequence[str]) -> list[Row]:
    """Rows to answer; the encoder has read them, if it is not to stay on the card."""
    rows = tokenisation.prompts(questions)
    if bridge.states is not None:
        from lilift.memory.encode_ahead import encode_ahead

        encode_ahead(bridge.states, rows, lambda _line: None)
    return rows


def seed_of(question: str, sample: int) -> int:
    """The seed of one question's sample: the same on every machine and in every order of questions."""
    digest = hashlib.blake2b(f"{sample}\n{question}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
