"""Responders: the interface of everything that answers questions and can be evaluated.

An evaluation needs a `Responder`. Models in this process are also `StreamsResponses`: they yield each response as soon as it is
complete, and can draw several responses to one question. `BridgeResponder` answers with a bridged model, and `PlainResponder`
with an LLM without a bridge.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from lilift.data.composed_text import composed
from lilift.evaluate.response_stream import Response, StreamingResponder
from lilift.model.decoding.sampling import Sampling
from lilift.recipe.errors import TrainingError

LEAST_BATCH_TOKENS = 64  # with such a small budget the rows run one by one

# These modules import torch, and lilift evaluates exports on machines without torch.
if TYPE_CHECKING:
    from lilift.data.batches.tokenization import LengthReport, Tokenisation
    from lilift.data.texts.examples import Row
    from lilift.model.decoding.generation import Reply
    from lilift.model.decoding.likelihood import Likelihood
    from lilift.model.encoders.encoder_states import EncoderStates


class Responder(Protocol):
    """Answers questions."""

    def generate(self, questions: Sequence[str]) -> list[str]:
        """One response for each question, in the same order."""


@runtime_checkable
class StreamsResponses(Protocol):
    """A responder that yields each response as soon as it is complete."""

    def stream(self, questions: Sequence[str], *, samples: int) -> Iterator[Response]:
        """`samples` responses to each question, in the order in which they are complete."""


@runtime_checkable
class CutsQuestions(Protocol):
    """A responder that cuts questions over a certain length."""

    def cuts(self, questions: Sequence[str]) -> list[bool]:
        """For each question, whether it is too long, so that the model reads only its beginning."""


@runtime_checkable
class TakesSettings(Protocol):
    """A responder whose generation settings can be changed."""

    def with_settings(self, *, max_new_tokens: int | None, sampling: Sampling | None) -> StreamsResponses:
        """The same model with other settings.

        Args:
            max_new_tokens: the longest response; None keeps the present limit.
            sampling: None always takes the most likely token.
        """


@runtime_checkable
class ReadsLanguages(Protocol):
    """A responder that can be told the language of the questions."""

    @property
    def announces_languages(self) -> bool:
        """Whether its answers depend on that language."""

    def in_language(self, language: str | None) -> ReadsLanguages:
        """The same model for questions in a language (lilift's code); None if it is not known.

        The result is a responder of the same kind.
        """


class GeneratingModel(Protocol):
    """What a responder needs of a model: the part of `BridgedModel` and `PlainLLM` that generates."""

    def stream(
        self,
        rows: Sequence[Any],
        *,
        max_new_tokens: int,
        batch_tokens: int,
        sampling: Sampling | None,
        seeds: Sequence[int] | None,
    ) -> Iterator[Reply]:
        """A reply to every row, each as soon as it is complete; a reply does not depend on the batch."""

    def log_likelihoods(
        self, rows: Sequence[Any], continuations: Sequence[Sequence[Sequence[int]]], *, batch_tokens: int
    ) -> list[list[Likelihood]]:
        """For each row, the likelihood of each of its continuations; it does not depend on the batch."""


class GeneratingBridge(GeneratingModel, Protocol):
    """What a responder needs of a `BridgedModel`."""

    states: EncoderStates | None


class _ModelResponder(StreamingResponder):
    """Answers with a model in this process, in batches of a bounded number of tokens, with or without sampling.

    Args:
        model: the model.
        rows_of: turns questions into the rows that the model reads.
        continuations_of: turns answers into the token ids that follow a row.
        max_new_tokens: longest response.
        batch_tokens: tokens of all prompts and responses of a batch together.
        sampling: None always takes the most likely token.
        spare: frees memory that only makes answers faster, and returns whether there was some.
    """

    def __init__(
        self,
        model: GeneratingModel,
        rows_of: Callable[[Sequence[str]], Sequence[Any]],
        continuations_of: Callable[[Sequence[str]], Sequence[Sequence[int]]],
        *,
        max_new_tokens: int,
        batch_tokens: int,
        sampling: Sampling | None = None,
        spare: Callable[[], bool] | None = None,
    ) -> None:
        self._model = model
        self._spare = spare
        self._rows_of = rows_of
        self._continuations_of = continuations_of
        self._max_new_tokens = max_new_tokens
        self._batch_tokens = batch_tokens
        self._sampling = sampling

    def with_settings(self, *, max_new_tokens: int | None, sampling: Sampling | None) -> _ModelResponder:
        """The same model with other generation settings; see `TakesSettings`."""
        other = copy.copy(self)
        other._max_new_tokens = max_new_tokens or self._max_new_tokens
        other._sampling = sampling
        return other

    def stream(self, questions: Sequence[str], *, samples: int = 1) -> Iterator[Response]:
        """`samples` responses to each question, in the order in which they are complete.

        A sampled response depends on the seed, on its question and on the number of the sample. It does not depend on the other
        questions.
        """
        rows = [row for row in self._rows_of(questions) for _ in range(samples)]
        seeds = [seed_of(question, sample) for question in questions for sample in range(samples)]
        for row, reply in self._replies(rows, seeds):
            yield Response(row // samples, reply.text, reply.tokens, reply.ended)

    def _replies(self, rows: Sequence[Any], seeds: Sequence[int]) -> Iterator[tuple[int, Reply]]:
        """The reply to every row.

        If memory runs out, the incomplete rows start again: first without spare memory, then in batches of half the size.
        """
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
                if self._spare is not None and self._spare():
                    pass
                elif self._batch_tokens <= LEAST_BATCH_TOKENS:
                    raise TrainingError(
                        "memory runs out even with one answer at a time",
                        where="evaluate",
                        remedy="close other programs that use the memory, or set evaluate.max_new_tokens lower",
                    ) from None
                else:
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
        """For each question, the likelihood of each answer that is given for it."""
        texts = list(dict.fromkeys(answer for given in answers for answer in given))
        ids = dict(zip(texts, self._continuations_of(texts), strict=True))
        continuations = [[ids[answer] for answer in given] for given in answers]
        return self._model.log_likelihoods(self._rows_of(questions), continuations, batch_tokens=self._batch_tokens)


class BridgeResponder(_ModelResponder):
    """Answers with a bridged model.

    Args:
        bridge: the model.
        tokenisation: turns questions into rows with the template and the limits of training.
        max_new_tokens: longest response.
        batch_tokens: tokens of all prompts and responses of a batch together.
        sampling: None always takes the most likely token.
        spare: frees memory that only makes answers faster, and returns whether there was some.
    """

    def __init__(
        self,
        bridge: GeneratingBridge,
        tokenisation: Tokenisation,
        *,
        max_new_tokens: int,
        batch_tokens: int,
        sampling: Sampling | None = None,
        spare: Callable[[], bool] | None = None,
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
            spare=spare,
        )
        self._bridge = bridge
        self._tokenisation = tokenisation
        self._language: str | None = None

    @property
    def announces_languages(self) -> bool:
        """Whether the encoder is told the language of a question."""
        return self._tokenisation.announces_languages

    def in_language(self, language: str | None) -> BridgeResponder:
        """The same model for questions in a language; see `ReadsLanguages`."""
        if not self.announces_languages:
            return self
        other = copy.copy(self)
        other._language = language
        other._rows_of = partial(_rows_of_questions, self._bridge, self._tokenisation, language=language)
        return other

    def cuts(self, questions: Sequence[str]) -> list[bool]:
        """For each question, whether it has more tokens than the encoder can read."""
        return [self._counted(question).truncated_source > 0 for question in questions]

    def _counted(self, question: str) -> LengthReport:
        from lilift.data.batches.tokenization import LengthReport

        alone = replace(self._tokenisation, report=LengthReport())
        alone.prompts([question], self._language)
        return alone.report


class PlainResponder(_ModelResponder):
    """Answers with a plain LLM that reads the text of the question: the baseline without a bridge."""


def _rows_of_questions(
    bridge: GeneratingBridge, tokenisation: Tokenisation, questions: Sequence[str], *, language: str | None = None
) -> list[Row]:
    """The rows of some questions. If the encoder does not stay on the GPU, it reads all of them here, before generation."""
    rows = tokenisation.prompts(questions, language)
    if bridge.states is not None:
        from lilift.memory.encode_ahead import encode_ahead

        encode_ahead(bridge.states, rows, lambda _line: None)
    return rows


def seed_of(question: str, sample: int) -> int:
    """The seed of one sample of a question: the same on every machine and in every order of the questions."""
    digest = hashlib.blake2b(f"{sample}\n{composed(question)}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
