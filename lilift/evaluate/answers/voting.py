"""Several drawn responses to one question: which answer they agree on (self-consistency, arXiv 2203.11171)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def voted(answers: Sequence[str | None]) -> int:
    """Which response stands for all: the first with the commonest answer.

    A response without an answer has no vote; of answers that are equally common the one that came first wins.
    """
    counts = Counter(answer for answer in answers if answer is not None)
    if not counts:
        return 0
    most = max(counts.values())
    return next(place for place, answer in enumerate(answers) if answer is not None and counts[answer] == most)
