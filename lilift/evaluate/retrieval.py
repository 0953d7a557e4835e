"""Measures how well languages are aligned: how often the sentence nearest to a sentence is its translation.

A sentence becomes one vector, the mean of its soft tokens. For English and each other language, lilift finds the sentence of
the other language that is nearest by cosine. The accuracy is how often this sentence is the translation, averaged over both
directions. With N sentences, chance is 1/N. Artetxe and Schwenk (2019) measure encoders in this way; the LinguaLIFT paper only
shows a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.data.languages import language as known_language
from lilift.recipe.errors import RunFolderError
from lilift.recipe.storage import read_json

# Functions that compute import torch themselves: reports use this module on machines without torch.
if TYPE_CHECKING:
    from torch import Tensor

ALIGNMENT_QUALITY = "alignment.json"


@dataclass(frozen=True)
class RetrievalScore:
    """Retrieval between English and one language, before and after stage 1.

    Attributes:
        language, name, tier: the language; languages outside MMWP count as low.
        before, after: accuracy, from 0 to 1.
    """

    language: str
    name: str
    tier: str
    before: float
    after: float


@dataclass(frozen=True)
class AlignmentQuality:
    """Retrieval in every language.

    Attributes:
        source: where the sentences come from.
        sentences: the number of sentences in each language; chance is 1 divided by it.
        languages: the score of each language.
        cut: the number of sentences, over all languages, that are longer than the encoder's limit and were cut.
    """

    source: str
    sentences: int
    languages: tuple[RetrievalScore, ...]
    cut: int = 0

    @property
    def before(self) -> float:
        """Mean over the languages."""
        return sum(score.before for score in self.languages) / len(self.languages)

    @property
    def after(self) -> float:
        """Mean over the languages."""
        return sum(score.after for score in self.languages) / len(self.languages)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; without `cut` if it is 0."""
        content = {"format": 1, **asdict(self), "before": self.before, "after": self.after}
        return content if self.cut else {name: value for name, value in content.items() if name != "cut"}

    def remarks(self) -> list[str]:
        """What a reader must know of the measurement, a sentence each."""
        if not self.cut:
            return []
        return [
            f"{self.cut:,} sentences are longer than the encoder's limit, so lilift measured their beginnings alone; "
            "a larger `encoder.max_tokens` in training would help"
        ]


def retrieval_accuracy(english: Tensor, other: Tensor) -> float:
    """How often a sentence's nearest neighbour is its translation, averaged over both directions.

    Args:
        english, other: [N, D]; the rows with the same index are translations of each other.
    """
    import torch
    from torch.nn import functional

    closeness = functional.normalize(english.double(), dim=-1) @ functional.normalize(other.double(), dim=-1).T  # [N, N]
    right = torch.arange(len(english), device=closeness.device)
    there, back = (float((closeness.argmax(dim) == right).double().mean()) for dim in (1, 0))
    return (there + back) / 2


def alignment_quality(
    sentences: Mapping[str, Sequence[str]],
    source: str,
    *,
    before: Callable[[Sequence[str], Sequence[str]], Tensor],
    after: Callable[[Sequence[str], Sequence[str]], Tensor],
    cut: int = 0,
) -> AlignmentQuality:
    """Measure retrieval between English and every other language.

    Args:
        sentences: the same sentences in each language, English included.
        source: where they come from.
        before, after: compute the vectors [N, D] of texts and their languages, before and after stage 1.
        cut: the number of sentences that they cut.
    """
    import torch

    texts = [text for found in sentences.values() for text in found]
    codes = [code for code, found in sentences.items() for _ in found]
    count = len(sentences["en"])
    accuracies = []
    for vectors_of in (before, after):
        vectors = dict(zip(sentences, torch.split(vectors_of(texts, codes), count), strict=True))
        accuracies.append({code: retrieval_accuracy(vectors["en"], found) for code, found in vectors.items() if code != "en"})
    return AlignmentQuality(
        source,
        count,
        tuple(
            RetrievalScore(code, known_language(code).name, known_language(code).tier or "low", first, accuracies[1][code])
            for code, first in accuracies[0].items()
        ),
        cut,
    )


def read_alignment_quality(path: Path) -> AlignmentQuality | None:
    """Read from disk what `AlignmentQuality.as_dict` returned; None if there is no file.

    Raises:
        RunFolderError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        content = read_json(path)
        scores = tuple(RetrievalScore(**score) for score in content["languages"])
        return AlignmentQuality(content["source"], content["sentences"], scores, content.get("cut", 0))
    except (KeyError, TypeError):
        raise RunFolderError(
            "the file is damaged: lilift cannot read alignment scores from it",
            where=path,
            remedy="delete the file and measure again",
        ) from None
