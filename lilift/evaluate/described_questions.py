"""What a responder says about questions that it reads in another form, such as a translation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

BESIDE_RESPONSES = ("untranslated", "response_numbers_kept", "response_complete")
"""What is kept beside a translated response: the one before translation, whether its translation has all numbers and is
complete."""
KEPT_BESIDE = (
    *("translated", "numbers_kept", "translation_complete"),
    *("route", "route_reason", "tokens_per_word", "bits_per_word"),
)
"""What is kept beside a question: its translation, whether that has all numbers, whether it is complete; its route, why the
question takes it, and its figures."""


@runtime_checkable
class DescribesQuestions(Protocol):
    """A responder that reads something other than the question itself."""

    def about_questions(self, questions: Sequence[str]) -> list[dict[str, Any]]:
        """For each question what to keep beside its response, as plain JSON values; the keys are those of `KEPT_BESIDE`."""
