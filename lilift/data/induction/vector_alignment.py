"""Aligns the word vectors of two languages, and makes a lexicon from words that are each other's nearest neighbour."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lilift.data.induction.adversary import from_adversary
from lilift.data.induction.neighbours import agreement, hubness, match, nearest
from lilift.data.induction.refinement import refine
from lilift.data.induction.romanisation import Romanise, romanised_anchors
from lilift.data.induction.starts import FEWEST_ANCHORS, anchors, from_anchors, from_similarities
from lilift.data.induction.word_vectors import Embeddings
from lilift.data.languages import language
from lilift.data.lexicons.dictionary_files import Pair
from lilift.data.lexicons.lexicon import Lexicon, build_lexicon
from lilift.recipe.errors import DataError

FEWEST_WORDS = 50
"""With fewer words than this, the nearest neighbour of a word has no meaning."""

Start = Literal["identical", "romanised", "numerals", "similarity", "adversarial", "aligned"]


@dataclass(frozen=True)
class InductionSettings:
    """The settings for the search of an alignment.

    Attributes:
        starts: kinds of first mappings; each is refined, and the best by `Matches.criterion` is kept.
        seeds: number of attempts of the adversarial start, the only start with random choices.
        frequent: starts and refinement use this many of the most frequent words of each language.
        romanise: writes a foreign word in Latin letters; the start ``romanised`` needs it.
    """

    starts: tuple[Start, ...] = ("identical", "similarity")
    seeds: int = 3
    frequent: int = 20_000
    romanise: Romanise | None = None


@dataclass(frozen=True)
class Attempt:
    """One start and the result of its refinement."""

    start: Start
    seed: int | None
    criterion: float
    refinements: int


@dataclass(frozen=True)
class Alignment:
    """Two vocabularies in one space.

    Attributes:
        english: [N, D] mapped into the foreign space, of unit length.
        foreign: [M, D] of unit length.
        attempts: every attempt, the best first.
        agreement: share of words that have the same translation in the best attempt and in another one; the largest such share.
            None if there is only one attempt. Wrong alignments agree on almost no word.
    """

    english: Tensor
    foreign: Tensor
    attempts: tuple[Attempt, ...]
    agreement: float | None


def align(
    english: Embeddings,
    foreign: Embeddings,
    settings: InductionSettings,
    *,
    device: str = "cpu",
    say: Callable[[str], None] = lambda _: None,
) -> Alignment:
    """Rotate the English space onto the foreign one without a dictionary.

    Args:
        english: vectors, the most frequent word first.
        foreign: vectors of the same dimension, the most frequent word first.
        settings: the settings of the search.
        device: the device for matrix products.
        say: receives a line about each attempt.

    Raises:
        DataError: dimensions differ, too few words have vectors, or no start is possible.
    """
    if english.dimension != foreign.dimension:
        raise DataError(
            f"these vectors have {foreign.dimension} dimensions, but the English vectors have {english.dimension}",
            where=foreign.source,
            remedy="use two sets of vectors with the same dimension",
        )
    for vocabulary in (english, foreign):
        if len(vocabulary.words) < FEWEST_WORDS:
            raise DataError(
                f"there are vectors for {len(vocabulary.words)} words, but an alignment needs at least {FEWEST_WORDS}",
                where=vocabulary.source,
                remedy="use vectors for more words",
            )
    first, second = _normalised(english.vectors.to(device)), _normalised(foreign.vectors.to(device))
    frequent = _Vocabularies(english.words, foreign.words, first[: settings.frequent], second[: settings.frequent])
    found = []
    for start, seed, mapping in _mappings(frequent, settings, say):
        refined = refine(frequent.english, frequent.foreign, mapping)
        attempt = Attempt(start, seed, refined.criterion, refined.rounds)
        say(f"{_title(start, seed)}: criterion {attempt.criterion:.4f} after {attempt.refinements} rounds of refinement")
        found.append((attempt, refined))
    if not found:
        raise DataError(
            f"fewer than {FEWEST_ANCHORS} words are spelled alike in both vocabularies",
            where=foreign.source,
            remedy="use --start romanised, --start similarity or --start adversarial",
        )
    found.sort(key=lambda item: -item[0].criterion)
    best, *others = (refined for _, refined in found)
    alike = max((agreement(best.matches, other.matches) for other in others), default=None)
    return Alignment(first @ best.mapping, second, tuple(attempt for attempt, _ in found), alike)


def induced_lexicon(alignment: Alignment, english: Embeddings, foreign: Embeddings, code: str) -> Lexicon:
    """A lexicon of words that are each other's nearest neighbour, filtered like any dictionary; the weight is their cosine.

    Raises:
        DataError: no usable pair is left.
    """
    matches = match(alignment.english, alignment.foreign)
    pairs = matches.mutual.tolist()
    cosines = matches.cosine.tolist()
    rows = [Pair(english.words[row], foreign.words[column], max(cosines[row], 1e-3)) for row, column in pairs]
    place = f"induced from {english.source} and {foreign.source}"
    return build_lexicon(rows, language(code), place, name="induced", licence="that of the texts behind the vectors")


def precision(
    alignment: Alignment, english: Embeddings, foreign: Embeddings, gold: Mapping[str, set[str]], counts: Sequence[int] = (1, 5)
) -> tuple[int, dict[int, float]]:
    """Share of gold words for which one of the k best translations is right.

    Args:
        alignment: the alignment of these embeddings.
        english: the English words.
        foreign: the foreign words.
        gold: English word → right translations.
        counts: values of k.

    Returns:
        The number of tested words (those in both vocabularies), and the share for each k.
    """
    known = set(foreign.words)
    asked = [(row, gold[word] & known) for row, word in enumerate(english.words) if gold.get(word, set()) & known]
    if not asked:
        return 0, dict.fromkeys(counts, 0.0)
    queries = alignment.english[torch.tensor([row for row, _ in asked], device=alignment.english.device)]
    best = nearest(queries, alignment.foreign, max(counts), hubness(alignment.foreign, alignment.english)).tolist()
    ranks = [_rank([foreign.words[index] for index in row], right) for row, (_, right) in zip(best, asked, strict=True)]
    return len(asked), {count: sum(rank < count for rank in ranks) / len(asked) for count in counts}


def _rank(found: Sequence[str], right: set[str]) -> int:
    """Index of the first right word, or the number of words if none is right."""
    return next((position for position, word in enumerate(found) if word in right), len(found))


def _normalised(vectors: Tensor) -> Tensor:
    """The vectors after three steps: scaled to unit length, shifted to mean zero, scaled to unit length again."""
    unit = F.normalize(vectors.float(), dim=1)
    return F.normalize(unit - unit.mean(dim=0), dim=1)


class _Vocabularies(NamedTuple):
    """All words, the most frequent first, and the vectors of the most frequent ones."""

    english_words: Sequence[str]
    foreign_words: Sequence[str]
    english: Tensor
    foreign: Tensor


def _mappings(
    frequent: _Vocabularies, settings: InductionSettings, say: Callable[[str], None]
) -> Iterator[tuple[Start, int | None, Tensor]]:
    english, foreign = frequent.english, frequent.foreign
    for start in settings.starts:
        if start in ("identical", "numerals", "romanised"):
            words = frequent.english_words[: len(english)], frequent.foreign_words[: len(foreign)]
            if start == "romanised":
                assert settings.romanise is not None, "the caller chooses a romaniser for the language"
                alike = romanised_anchors(*words, settings.romanise)
                say(f"romanised: {len(alike)} words are spelled alike in Latin letters")
            else:
                alike = anchors(*words, numerals_only=start == "numerals")
            if len(alike) < FEWEST_ANCHORS:
                say(f"{start}: skipped, because only {len(alike)} words are spelled alike (it needs {FEWEST_ANCHORS})")
            else:
                yield start, None, from_anchors(alike, english, foreign)
        elif start == "similarity":
            yield start, None, from_similarities(english, foreign)
        elif start == "aligned":  # the vectors are already in one space
            yield start, None, torch.eye(english.shape[1], device=english.device)
        else:
            for seed in range(settings.seeds):
                yield start, seed, from_adversary(english, foreign, seed=seed, say=say)


def _title(start: Start, seed: int | None) -> str:
    return start if seed is None else f"{start}, seed {seed}"
