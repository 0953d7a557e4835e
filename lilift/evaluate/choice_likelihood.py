"""Answers chosen by likelihood: of a few labels, the one that is most likely after the question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from lilift.evaluate.responders import CutsQuestions
from lilift.recipe.errors import RecipeError

if TYPE_CHECKING:
    from lilift.model.decoding.likelihood import Likelihood


@runtime_checkable
class RanksLabels(Protocol):
    """A responder that can compute how likely given answers are."""

    def likelihoods(self, questions: Sequence[str], answers: Sequence[Sequence[str]]) -> list[list[Likelihood]]:
        """For each question, the likelihood of each answer that is given for it."""


def ranking(model: object, where: str) -> RanksLabels:
    """The given model, if it can rank answers.

    Args:
        model: any responder.
        where: the benchmark or program that needs the ranks, for the error.

    Raises:
        RecipeError: the model can only write answers, like the GGUF files of an export.
    """
    if not isinstance(model, RanksLabels):
        raise RecipeError(
            "this model cannot compute how likely an answer is",
            where=where,
            remedy="give a run, a plain LLM or the hf/ part of an export (--dtype), or let the model write its answers",
        )
    return model


class LikelihoodResponder:
    """Answers every question with the most likely of its labels.

    Args:
        ranks: the model.
        labels: words or letters. A response gives a letter with a full stop after it, as models write it.
        own: the labels of each question that has others than `labels`, by its text.
    """

    def __init__(self, ranks: RanksLabels, labels: Sequence[str], own: Mapping[str, Sequence[str]] | None = None) -> None:
        self._ranks = ranks
        self._labels = labels
        self._own = own or {}

    def generate(self, questions: Sequence[str]) -> list[str]:
        """The most likely label of each question; the first one if several are equally likely."""
        labels = [self._own.get(question, self._labels) for question in questions]
        found = self._ranks.likelihoods(questions, labels)
        likelihoods = ([one.log_probability for one in values] for values in found)
        chosen = [mine[values.index(max(values))] for mine, values in zip(labels, likelihoods, strict=True)]
        return [f"{label}." if len(label) == 1 else label for label in chosen]

    def cuts(self, questions: Sequence[str]) -> list[bool]:
        """For each question, whether the model reads only its beginning."""
        return self._ranks.cuts(questions) if isinstance(self._ranks, CutsQuestions) else [False] * len(questions)
