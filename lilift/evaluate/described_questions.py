"""What a responder says about questions that it reads in another form, such as a translation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

KEPT_BESIDE = ("translated", "numbers_kept", "translation_complete")
"""What is kept beside a response: the translation of its question, whether that has all numbers, whether it is complete."""


@runtime_checkable
class DescribesQuestions(Protocol):
    """A responder that reads something other than the question itself."""

    def about_questions(self, questions: Sequence[str]) -> list[dict[str, Any]]:
        """For each question what to keep beside its response, as plain JSON values; the keys are those of `KEPT_BESIDE`."""
