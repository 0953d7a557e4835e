"""Deals the questions of an evaluation into shares of equal size."""

from __future__ import annotations

from collections.abc import Sequence

from lilift.evaluate.benchmarks.benchmark import Question

LEAST_QUESTIONS = 32
"""A share has at least about so many questions of a language that it takes part in, if the language has so many.

A model answers questions of one language at a time. With few of them, it would mostly wait for the slowest answer.
"""


def longest_first(questions: Sequence[Question]) -> list[Question]:
    """The questions in the order in which a model answers them.

    The rows of a batch are then similar in length, and a batch that does not fit into memory fails at once.
    """
    return sorted(questions, key=lambda question: (-len(question.text), question.id))


def deal_questions(languages: Sequence[Sequence[Question]], shares: int) -> list[list[list[Question]]]:
    """The questions of each share in each language, longest first. The same questions always give the same shares.

    Args:
        languages: the questions of each language of each benchmark.
        shares: their number.
    """
    dealt: list[list[list[Question]]] = [[[] for _ in languages] for _ in range(shares)]
    sizes = [0] * shares
    for place, questions in enumerate(languages):
        taking = min(shares, max(1, len(questions) // LEAST_QUESTIONS))
        chosen = sorted(range(shares), key=lambda share: (sizes[share], share))[:taking]
        for number, question in enumerate(longest_first(questions)):
            there_and_back = number % (2 * taking)  # so that no share gets the longer one of each round
            share = chosen[min(there_and_back, 2 * taking - 1 - there_and_back)]
            dealt[share][place].append(question)
            sizes[share] += 1
    return dealt
