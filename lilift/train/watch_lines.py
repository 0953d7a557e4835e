"""What the lines of `during.jsonl` say: the best watch, and when the share of right foreign answers began to fall."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

WATCHED = "during.jsonl"
WATCHES_BELOW = 2
"""The accuracy has begun to fall when so many watches in a row are clearly below the best one before them."""


def best_watch(lines: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The watch with the most right answers, the latest among equals. Step 0 does not count: nothing has been trained there."""
    return highest([line for line in lines if line["step"] > 0])


def fall(lines: Sequence[Mapping[str, Any]]) -> int | None:
    """The step at which the accuracy began to fall; None if it did not.

    It has begun to fall when two watches in a row are below the best watch before them by more than one standard error of that
    best watch. Step 0 counts here. The standard error is that of a share with two right and two wrong answers added (Agresti
    and Coull 1998), so that it is never 0.
    """
    below: list[int] = []
    for place, line in enumerate(lines):
        best = highest(lines[: place - len(below)])
        if best is not None and line["accuracy"] < best["accuracy"] - standard_error(best):
            below.append(line["step"])
        else:
            below = []
        if len(below) == WATCHES_BELOW:
            return below[0]
    return None


def standard_error(line: Mapping[str, Any]) -> float:
    """The standard error of the share of right answers in a watch."""
    questions = line["questions"] + 4
    share = (line["right"] + 2) / questions
    return math.sqrt(share * (1 - share) / questions)


def highest(lines: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The watch with the most right answers, the latest among equals."""
    return max(lines, key=lambda line: (line["right"], line["step"]), default=None)
