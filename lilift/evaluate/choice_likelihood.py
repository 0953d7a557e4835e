"""Answers chosen by likelihood: of a few labels, the one that the model finds likeliest after the question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from lilift.evaluate.responders import CutsQuestions
from lilift.recipe.errors import RecipeError

if TYPE_CHECKING:
    from lilift.model.decoding.likelihood import Likelihood


@runtime_checkable
class RanksLabels(Protocol):
    """A responder that can tell how likely it finds given answers."""

    def likelihoods(self, questions: Sequence[str], answers: Sequence[Sequence[str]]) -> list[list[Likelihood]]:
        """For each question how likely each of the answers given for it is."""


def ranking(model: object, where: str) -> RanksLabels:
    """A model that ranks answers.

    Raises:
        RecipeError: this one only writes them, as an export's GGUF files do.
    """
    if not isinstance(model, RanksLabels):
        raise RecipeError(
            "this model cannot tell how likely an answer is",
            where=where,
            remedy="give a run, a plain LLM or the hf/ part of an export (--dtype), or ask for written answers",
        )
    return model


class LikelihoodResponder:
    """Answers every question with the likeliest of the same labels.

    Args:
        ranks: the model.
        labels: words, or letters; a letter is answered with a full stop after it, as responses write it.
    """

    def __init__(self, ranks: RanksLabels, labels: Sequence[str]) -> None:
        self._ranks = ranks
        self._labels = labels

    def generate(self, questions: Sequence[str]) -> list[str]:
        """The likeliest label of each question; of equally likely ones the first."""
        found = self._ranks.likelihoods(questions, [self._labels] * len(questions))
        likelihoods = ([one.log_probability for one in values] for values in found)
        chosen = [self._labels[values.index(max(values))] for values in likelihoods]
        return [f"{label}." if len(label) == 1 else label for label in chosen]

    def cuts(self, questions: Sequence[str]) -> list[bool]:
        """For each question, whether the model reads it only in part."""
        return self._ranks.cuts(questions) if isinstance(self._ranks, CutsQuestions) else [False] * len(questions)
