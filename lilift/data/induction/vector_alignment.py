"""Two vector spaces in, an alignment and a lexicon out: starts, refinement, choice without gold data, mutual neighbours."""

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
from lilift.data.induction.starts import FEWEST_ANCHORS, anchors, from_anchors, from_similarities
from lilift.data.induction.word_vectors import Embeddings
from lilift.data.languages import language
from lilift.data.lexicons.dictionary_files import Pair
from lilift.data.lexicons.lexicon import Lexicon, build_lexicon
from lilift.recipe.errors import DataError

FEWEST_WORDS = 50
"""With vectors of fewer words than that, what lies nearest to a word says nothing."""

Start = Literal["identical", "numerals", "similarity", "adversarial", "aligned"]


@dataclass(frozen=True)
class InductionSettings:
    """How an alignment is looked for.

    Attributes:
        starts: ways to begin; each is refined, and the best by `Matches.criterion` is kept.
        seeds: attempts of the adversarial start, the only one that draws.
        frequent: most frequent words of each language that starts and refinement look at.
    """

    starts: tuple[Start, ...] = ("identical", "similarity")
    seeds: int = 3
    frequent: int = 20_000


@dataclass(frozen=True)
class Attempt:
    """One start and what refinement made of it."""

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
        agreement: share of words to which the best attempt and another give the same translation, the greatest of all others;
            None where there is one attempt. Wrong alignments agree on next to none.
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
        settings: how.
        device: where matrices are multiplied.
        say: is told what is being tried.

    Raises:
        DataError: dimensions differ, too few words have vectors, or no start is possible.
    """
    if english.dimension != foreign.dimension:
        raise DataError(
            f"vectors of {foreign.dimension} dimensions cannot be aligned with English vectors of {english.dimension}",
            where=foreign.source,
            remedy="give two sets of vectors of the same dimension",
        )
    for vocabulary in (english, foreign):
        if len(vocabulary.words) < FEWEST_WORDS:
            raise DataError(
                f"has vectors of {len(vocabulary.words)} words, and an alignment needs {FEWEST_WORDS}",
                where=vocabulary.source,
                remedy="give vectors of more words",
            )
    first, second = _normalised(english.vectors.to(device)), _normalised(foreign.vectors.to(device))
    frequent = _Vocabularies(english.words, foreign.words, first[: settings.frequent], second[: settings.frequent])
    found = []
    for start, seed, mapping in _mappings(frequent, settings, say):
        refined = refine(frequent.english, frequent.foreign, mapping)
        attempt = Attempt(start, seed, refined.criterion, refined.rounds)
        say(f"{_title(start, seed)}: criterion {attempt.criterion:.4f} after {attempt.refinements} refinements")
        found.append((attempt, refined))
    if not found:
        raise DataError(
            f"fewer than {FEWEST_ANCHORS} words are spelled alike in both vocabularies",
            where=foreign.source,
            remedy="start by similarity or adversarial",
        )
    found.sort(key=lambda item: -item[0].criterion)
    best, *others = (refined for _, refined in found)
    alike = max((agreement(best.matches, other.matches) for other in others), default=None)
    return Alignment(first @ best.mapping, second, tuple(attempt for attempt, _ in found), alike)


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
        if start in ("identical", "numerals"):
            words = frequent.english_words[: len(english)], frequent.foreign_words[: len(foreign)]
            alike = anchors(*words, numerals_only=start == "numerals")
            if len(alike) < FEWEST_ANCHORS:
                say(f"{start}: only {len(alike)} words are spelled alike, which is too few to start from")
            else:
                yield start, None, from_anchors(alike, english, foreign)
        elif start == "similarity":
            yield start, None, from_similarities(english, foreign)
        elif start == "aligned":  # whoever made the vectors has brought them into one space
            yield start, None, torch.eye(english.shape[1], device=english.device)
        else:
            for seed in range(settings.seeds):
                yield start, seed, from_adversary(english, foreign, seed=seed, say=say)


def _title(start: Start, seed: int | None) -> str:
    return start if seed is None else f"{start}, seed {seed}"
