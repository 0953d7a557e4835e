"""Which questions and responses the report shows: the same questions for every system, right and wrong ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHOWN = 4
"""Questions of each language."""


@dataclass(frozen=True)
class Reply:
    """What one system said: its response, the number read from it (None: missing) and whether that is right."""

    title: str
    response: str
    extracted: str | None
    right: bool


@dataclass(frozen=True)
class Sample:
    """One question with every system's reply."""

    question: str
    gold: str
    replies: tuple[Reply, ...]


def samples_of(systems: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> tuple[Sample, ...]:
    """Choose questions of one language.

    The last system, the one that the run is about, decides: half of the questions it got right and half it got wrong, as far
    as there are any, each kind in the benchmark's order. Nothing is chosen for looking good.

    Args:
        systems: title and lines of generations of each, in the order of the table.
    """
    answered = [(title, {line["id"]: line for line in lines}) for title, lines in systems if lines]
    if not answered:
        return ()
    decisive = sorted(answered[-1][1].values(), key=lambda line: _place(str(line["id"])))
    right = [line for line in decisive if line["correct"]]
    wrong = [line for line in decisive if not line["correct"]]
    half = SHOWN // 2
    first = right[: max(half, SHOWN - len(wrong))]
    chosen = [*first, *wrong[: SHOWN - len(first)]]
    return tuple(_sample(str(line["id"]), answered) for line in chosen)


def _place(identity: str) -> tuple[int, str]:
    """Where a question stands in its benchmark: the number that its id ends with."""
    found = re.search(r"\d+$", identity)
    return (int(found.group()) if found else 0, identity)


def _sample(identity: str, answered: Sequence[tuple[str, Mapping[str, Mapping[str, Any]]]]) -> Sample:
    found = [(title, lines[identity]) for title, lines in answered if identity in lines]
    replies = tuple(Reply(title, line["response"].strip(), line["extracted"], bool(line["correct"])) for title, line in found)
    return Sample(found[0][1]["question"], found[0][1]["gold"], replies)
