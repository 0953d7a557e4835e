"""Chooses the questions and responses in the report: the same questions for every system, answered right and wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHOWN = 4
"""Number of questions that the report shows for each language."""


@dataclass(frozen=True)
class Reply:
    """One system's response, the answer that lilift read from it (None: missing), and whether the answer is right."""

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

    The last system, which the run is about, decides. It answered half of the questions right and half of them wrong, if there
    are enough of both. Each half is in the benchmark's order, so lilift does not pick good examples.

    Args:
        systems: title and answer lines of each system, in the order of the table.
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
    return tuple(sample_of(str(line["id"]), answered) for line in chosen)


def _place(identity: str) -> tuple[int, str]:
    """The place of a question in its benchmark: the number at the end of its id."""
    found = re.search(r"\d+$", identity)
    return (int(found.group()) if found else 0, identity)


def sample_of(identity: str, answered: Sequence[tuple[str, Mapping[str, Mapping[str, Any]]]]) -> Sample:
    """One question with every system's reply.

    Args:
        identity: id of the question.
        answered: title of each system, and its answer lines by id.
    """
    found = [(title, lines[identity]) for title, lines in answered if identity in lines]
    replies = tuple(Reply(title, line["response"].strip(), line["extracted"], bool(line["correct"])) for title, line in found)
    return Sample(found[0][1]["question"], found[0][1]["gold"], replies)
