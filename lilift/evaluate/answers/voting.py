"""Chooses one of several sampled responses to a question by majority vote (self-consistency, arXiv 2203.11171)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def voted(answers: Sequence[str | None]) -> int:
    """The index of the chosen response: the first one with the most common answer.

    A response without an answer does not vote. If several answers are equally common, the earliest one wins.
    """
    counts = Counter(answer for answer in answers if answer is not None)
    if not counts:
        return 0
    most = max(counts.values())
    return next(place for place, answer in enumerate(answers) if answer is not None and counts[answer] == most)
