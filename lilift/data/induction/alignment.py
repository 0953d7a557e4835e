"""Two vector spaces in, an alignment and a lexicon out: starts, refinement, choice without gold data, mutual neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from lilift.data.induction.embeddings import Embeddings
from lilift.data.induction.neighbours import Matches, hubness, match, nearest
from lilift.data.induction.starts import FEWEST_ANCHORS, anchors, from_anchors, from_similarities, procrustes
from lilift.data.languages import language
from lilift.data.lexicon import Lexicon, build_lexicon
from lilift.data.lexicon_files import Pair
from lilift.recipe.errors import DataError

Start = Literal["identical", "numerals", "similarity"]
FIRST_WORDS = 5_000
"""Refinement begins with so many words, which costs next to nothing, and goes on with all of `InductionSettings.frequent`."""
_GAIN = 1e-4
"""Refinement ends where it gains less."""


@dataclass(frozen=True)
class InductionSettings:
    """How an alignment is looked for.

    Attributes:
        starts: ways to begin; each is refined, and the best by `Matches.criterion` is kept.
        frequent: most frequent words of each language that starts and refinement look at.
        refinements: at most so many rounds of Procrustes.
    """

    starts: tuple[Start, ...] = ("identical", "similarity")
    frequent: int = 20_000
    refinements: int = 20


@dataclass(frozen=True)
class Attempt:
    """One start and what refinement made of it."""

    start: Start
    criterion: float
    refinements: int


@dataclass(frozen=True)
class Alignment:
    """Two vocabularies in one space.

    Attributes:
        english: [N, D] mapped into the foreign space, of unit length.
        foreign: [M, D] of unit length.
        attempts: every attempt, the best first.
    """

    english: Tensor
    foreign: Tensor
    attempts: tuple[Attempt, ...]


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
        settings: how.
        device: where matrices are multiplied.
        say: is told what is being tried.

    Raises:
        DataError: dimensions differ, or no start is possible.
    """
    if english.dimension != foreign.dimension:
        raise DataError(
            f"vectors of {foreign.dimension} dimensions cannot be aligned with English vectors of {english.dimension}",
            where=foreign.source,
            remedy="give two sets of vectors of the same dimension",
        )
    first, second = _normalised(english.vectors.to(device)), _normalised(foreign.vectors.to(device))
    frequent = (first[: settings.frequent], second[: settings.frequent])
    found: list[tuple[Attempt, Tensor]] = []
    for start, mapping in _mappings(english.words, foreign.words, *frequent, settings, say):
        if len(frequent[0]) > FIRST_WORDS:
            mapping, _, _ = _refine(frequent[0][:FIRST_WORDS], frequent[1][:FIRST_WORDS], mapping, settings.refinements)
        refined, criterion, rounds = _refine(*frequent, mapping, settings.refinements)
        say(f"{start}: criterion {criterion:.4f} after {rounds} refinements")
        found.append((Attempt(start, criterion, rounds), refined))
    if not found:
        raise DataError(
            f"fewer than {FEWEST_ANCHORS} words are spelled alike in both vocabularies",
            where=foreign.source,
            remedy="start by similarity",
        )
    found.sort(key=lambda item: -item[0].criterion)
    return Alignment(first @ found[0][1], second, tuple(attempt for attempt, _ in found))


def induced_lexicon(alignment: Alignment, english: Embeddings, foreign: Embeddings, code: str) -> Lexicon:
    """Words that are each other's nearest neighbour, filtered like any dictionary; the weight is their cosine.

    Raises:
        DataError: nothing usable is left.
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
    """Share of gold words of which one of the k best translations is in the gold data.

    Args:
        alignment: of these embeddings.
        english: the English words.
        foreign: the foreign words.
        gold: English word → right translations.
        counts: values of k.

    Returns:
        How many words were asked (those that both vocabularies know), and the share by k.
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
    """Position of the first right word, or beyond the last."""
    return next((position for position, word in enumerate(found) if word in right), len(found))


def _normalised(vectors: Tensor) -> Tensor:
    """Unit length, mean zero, unit length again."""
    unit = F.normalize(vectors.float(), dim=1)
    return F.normalize(unit - unit.mean(dim=0), dim=1)


def _mappings(
    english_words: Sequence[str],
    foreign_words: Sequence[str],
    english: Tensor,
    foreign: Tensor,
    settings: InductionSettings,
    say: Callable[[str], None],
) -> Iterator[tuple[Start, Tensor]]:
    for start in settings.starts:
        if start in ("identical", "numerals"):
            alike = anchors(english_words[: len(english)], foreign_words[: len(foreign)], numerals_only=start == "numerals")
            if len(alike) < FEWEST_ANCHORS:
                say(f"{start}: only {len(alike)} words are spelled alike, which is too few to start from")
            else:
                yield start, from_anchors(alike, english, foreign)
        else:
            yield start, from_similarities(english, foreign)


def _refine(english: Tensor, foreign: Tensor, mapping: Tensor, most: int) -> tuple[Tensor, float, int]:
    """Procrustes on the pairs that choose each other, as long as the criterion grows."""
    matches: Matches = match(english @ mapping, foreign)
    best, value, rounds = mapping, matches.criterion, 0
    while rounds < most:
        pairs = matches.mutual
        mapping = procrustes(english[pairs[:, 0]], foreign[pairs[:, 1]])
        matches = match(english @ mapping, foreign)
        rounds += 1
        gain = matches.criterion - value
        if gain > 0:
            best, value = mapping, matches.criterion
        if gain < _GAIN:
            break
    return best, value, rounds
