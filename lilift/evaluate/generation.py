"""What can be evaluated: anything that answers questions.

`Responder` is all that an evaluation asks for. `BridgeResponder` is a live `BridgedModel` behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from lilift.data.examples import Row
from lilift.data.tokenization import LengthReport, Tokenisation


class Responder(Protocol):
    """Anything that answers questions."""

    def answer(self, questions: Sequence[str]) -> list[str]:
        """One response for each question, in the same order."""


@runtime_checkable
class CutsQuestions(Protocol):
    """A responder with a longest question."""

    def cuts(self, questions: Sequence[str]) -> list[bool]:
        """For each question, whether it is too long and read only in part."""


class Generates(Protocol):
    """What is asked of a model: the part of `BridgedModel` that generates."""

    def generate(self, rows: Sequence[Row], *, max_new_tokens: int, batch_tokens: int) -> list[str]:
        """Greedy responses in the order of the rows, without special tokens; the same whatever the batch."""


class BridgeResponder:
    """Answers with a bridged model: greedy, batched by a budget of tokens.

    Args:
        bridge: the model.
        tokenisation: turns questions into rows with the template and limits of training.
        max_new_tokens: longest response.
        batch_tokens: tokens of prompts and responses side by side.
    """

    def __init__(self, bridge: Generates, tokenisation: Tokenisation, *, max_new_tokens: int, batch_tokens: int) -> None:
        self._bridge = bridge
        self._tokenisation = tokenisation
        self._max_new_tokens = max_new_tokens
        self._batch_tokens = batch_tokens

    def answer(self, questions: Sequence[str]) -> list[str]:
        """One response for each question, in the same order."""
        rows = self._tokenisation.prompts(questions)
        return self._bridge.generate(rows, max_new_tokens=self._max_new_tokens, batch_tokens=self._batch_tokens)

    def cuts(self, questions: Sequence[str]) -> list[bool]:
        """For each question, whether it has more tokens than the encoder reads."""
        return [self._counted(question).truncated_source > 0 for question in questions]

    def _counted(self, question: str) -> LengthReport:
        alone = replace(self._tokenisation, report=LengthReport())
        alone.prompts([question])
        return alone.report
