"""Deals the questions of an evaluation into shares of equal size."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lilift.evaluate.benchmarks.benchmark import Benchmark, Question
from lilift.recipe.errors import RecipeError

GOOD_ENOUGH = 1.05
"""Whole languages stay together if the largest share is then at most so many times the mean."""


def longest_first(questions: Sequence[Question]) -> list[Question]:
    """The questions in the order in which a model answers them.

    The rows of a batch are then similar in length, and a batch that does not fit into memory fails at once.
    """
    return sorted(questions, key=lambda question: (-len(question.text), question.id))


def deal_questions(languages: Sequence[Sequence[Question]], shares: int) -> list[list[list[Question]]]:
    """The questions of each share in each language, longest first. The same questions always give the same shares.

    A model answers the questions of a language side by side, and half of them take more than half of the time. So as many
    languages as possible go to one share each. The questions of the rest are dealt one by one.

    Args:
        languages: the questions of each language of each benchmark.
        shares: their number.
    """
    mean = sum(map(len, languages)) / shares
    best: list[list[list[Question]]] = []
    least = float("inf")
    for whole in range(len(languages) // shares * shares, -1, -shares):
        dealt = _dealt(languages, shares, whole)
        largest = max(sum(map(len, share)) for share in dealt)
        if largest < least:
            best, least = dealt, largest
        if largest <= GOOD_ENOUGH * mean:
            break
    return best


def _dealt(languages: Sequence[Sequence[Question]], shares: int, whole: int) -> list[list[list[Question]]]:
    """The shares if the `whole` largest languages stay together."""
    dealt: list[list[list[Question]]] = [[[] for _ in languages] for _ in range(shares)]
    sizes = [0] * shares
    order = sorted(range(len(languages)), key=lambda place: (-len(languages[place]), place))
    for place in order[:whole]:
        share = sizes.index(min(sizes))
        dealt[share][place] = longest_first(languages[place])
        sizes[share] += len(languages[place])
    for place in order[whole:]:
        for number, question in enumerate(longest_first(languages[place])):
            # Forth and back, so that no share gets the longest question of every round.
            forth = 1 if number // shares % 2 == 0 else -1
            share = min(range(shares), key=lambda share: (sizes[share], forth * share))
            dealt[share][place].append(question)
            sizes[share] += 1
    return dealt


@dataclass(frozen=True)
class Share:
    """One of several shares of an evaluation, for a job of its own.

    Attributes:
        number: of this share, from 1.
        of: how many there are.
    """

    number: int
    of: int


def share_named(text: str) -> Share:
    """The share that a user writes as ``3/16``.

    Raises:
        RecipeError: there is no such share.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip(), re.ASCII)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise RecipeError(
            f"--shard {text} names no share",
            remedy="give the number of the job and the number of jobs, from 1/16 to 16/16 for sixteen",
        )
    return Share(int(found[1]), int(found[2]))


def own_questions(benchmarks: Sequence[Benchmark], share: Share) -> list[Benchmark]:
    """The questions of a share, without the languages in which it has none."""
    dealt = deal_questions([one.questions for one in benchmarks], share.of)[share.number - 1]
    return [replace(one, questions=tuple(own)) for one, own in zip(benchmarks, dealt, strict=True) if own]


def digest_of_questions(benchmarks: Sequence[Benchmark]) -> str:
    """A digest of the questions and of the right answers."""
    content = [
        [one.name, one.language, *([asked.id, asked.text, str(asked.gold), asked.labels] for asked in one.questions)]
        for one in benchmarks
    ]
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()
