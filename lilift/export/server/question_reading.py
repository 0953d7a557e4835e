"""What a server needs to know of a model: how a question becomes a prompt, and how a whole answer comes about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from lilift.export.runner.answer_batch import Prompt
from lilift.export.runner.exported_bridge import ExportedBridge
from lilift.model.decoding.sampling import Sampling


class ReadsQuestions(Protocol):
    """Turns questions into prompts of an export, and its answers into what people read.

    Attributes:
        languages: codes of the languages that a request may name; empty if the language makes no difference.
        translates: whether answers are translated, so that people see only whole answers.
    """

    languages: Sequence[str]
    translates: bool

    def prepare(self, question: str, language: str | None) -> tuple[Prompt, dict[str, Any]]:
        """The prompt, and what the response says about the question, as plain JSON values.

        Raises:
            LiliftError: the model cannot read the question.
        """

    def answer_for(self, answer: str, question: str, language: str | None) -> tuple[str, dict[str, Any]]:
        """The answer as people read it, and what the response says about it."""


class DirectReading:
    """The encoder reads every question, and the answer stays as it is.

    Args:
        bridge: the export.
    """

    languages: Sequence[str] = ()
    translates = False

    def __init__(self, bridge: ExportedBridge) -> None:
        self._bridge = bridge

    def prepare(self, question: str, language: str | None) -> tuple[Prompt, dict[str, Any]]:  # noqa: ARG002
        """The prompt of the bridge."""
        return self._bridge.prepare(question), {}

    def answer_for(self, answer: str, question: str, language: str | None) -> tuple[str, dict[str, Any]]:  # noqa: ARG002
        """The answer itself."""
        return answer, {}


@dataclass(frozen=True)
class WholeAnswer:
    """An answer as people read it.

    Attributes:
        text: the answer.
        tokens: how many tokens the model generated; None if that is not known.
        ended: False if it was cut at the longest answer.
        cut: whether the model read only the beginning of the question.
        remarks: what the response says about question and answer, as plain JSON values.
    """

    text: str
    tokens: int | None = None
    ended: bool = True
    cut: bool = False
    remarks: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class AnswersWhole(Protocol):
    """A model of any kind that answers one question after the other.

    Attributes:
        name: of the model, for requests.
        languages: as in `ReadsQuestions`.
    """

    name: str
    languages: Sequence[str]

    def answer_whole(
        self, question: str, language: str | None, *, max_new_tokens: int | None, sampling: Sampling | None
    ) -> WholeAnswer:
        """The answer to a question.

        Args:
            question: the question.
            language: its code; None for the model's default.
            max_new_tokens: the longest answer; None for the model's own limit.
            sampling: None takes the likeliest tokens.

        Raises:
            LiliftError: the model cannot answer it.
        """
