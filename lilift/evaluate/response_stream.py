"""A response, and what all responders share that yield each response as soon as it is complete."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Response:
    """One response to one question.

    Attributes:
        question: the index of its question in the list of questions.
        text: the response.
        tokens: how many tokens the model generated; None if that is not known.
        ended: True if the model ended the response, False if it was cut at the longest response; None if that is not known.
        beside: what to keep beside it, by the names of `described_questions.BESIDE_RESPONSES`.
    """

    question: int
    text: str
    tokens: int | None = None
    ended: bool | None = None
    beside: Mapping[str, Any] = field(default_factory=dict)


class StreamingResponder(ABC):
    """A responder whose list of responses comes from its stream; see `lilift.evaluate.responders.StreamsResponses`."""

    @abstractmethod
    def stream(self, questions: Sequence[str], *, samples: int = 1) -> Iterator[Response]:
        """`samples` responses to each question, in the order in which they are complete."""

    def generate(self, questions: Sequence[str]) -> list[str]:
        """One response for each question, in the same order."""
        texts = [""] * len(questions)
        for response in self.stream(questions):
            texts[response.question] = response.text
        return texts
