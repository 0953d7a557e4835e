"""Induction: a planted lexicon is found again, memory stays bounded, and the best attempt is chosen without gold data."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lilift.data.induction import neighbours
from lilift.data.induction.neighbours import match, nearest
from lilift.data.induction.refinement import procrustes
from lilift.data.induction.vector_alignment import InductionSettings, align, induced_lexicon, precision
from lilift.data.induction.word_vectors import Embeddings
from lilift.recipe.errors import DataError

WORDS, DIMENSION = 600, 20


def letters(index: int) -> str:
    """A word without digits, for which a lexicon has a place."""
    return "".join(chr(ord("a") + index // 26**power % 26) for power in range(3))


def planted(noise: float, *, alike: int = 0, seed: int = 0) -> tuple[Embeddings, Embeddings, dict[str, set[str]]]:
    """Clustered vectors, and the same rotated, shuffled and with noise; `alike` words are spelled the same in both."""
    random = torch.Generator().manual_seed(seed)
    scale = torch.arange(1, DIMENSION + 1) ** -0.5
    centres = torch.randn(30, DIMENSION, generator=random) * scale
    chosen = (torch.rand(WORDS, generator=random) ** 2 * 30).long()
    vectors = F.normalize(centres[chosen] + torch.randn(WORDS, DIMENSION, generator=random) * scale, dim=1)
    rotation, _ = torch.linalg.qr(torch.randn(DIMENSION, DIMENSION, generator=random))
    order = torch.randperm(WORDS, generator=random)
    disturbance = F.normalize(torch.randn(WORDS, DIMENSION, generator=random), dim=1)
    moved = (vectors @ rotation + noise * disturbance)[order]
    english = [f"e{letters(index)}" for index in range(WORDS)]
    foreign = [english[index] if index < alike else f"f{letters(index)}" for index in order.tolist()]
    gold = {word: {word if index < alike else f"f{letters(index)}"} for index, word in enumerate(english)}
    return Embeddings(english, vectors, "english"), Embeddings(foreign, moved, "foreign"), gold


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_planted_lexicon_is_found_by_the_shape_of_similarities_alone(noise: float) -> None:
    english, foreign, gold = planted(noise)
    alignment = align(english, foreign, InductionSettings(starts=("similarity",)))
    words, shares = precision(alignment, english, foreign, gold)
    assert words == WORDS
    assert shares[1] > 0.97
    assert shares[5] >= shares[1]
    lexicon = induced_lexicon(alignment, english, foreign, "sw")
    right = sum(found[0].text in gold[word] for word, found in lexicon.entries.items())
    assert right > 0.97 * len(lexicon.entries) > 0.9 * WORDS
    assert all(0 < found[0].weight <= 1.001 for found in lexicon.entries.values())


def test_vectors_that_lie_in_one_space_already_are_taken_as_they_are() -> None:
    english, foreign, gold = planted(0.8)
    start = InductionSettings(starts=("aligned",))
    assert precision(align(english, foreign, start), english, foreign, gold)[1][1] < 0.1, "these are rotated"
    right = torch.tensor([english.words.index("e" + word[1:]) for word in foreign.words])
    turned_back = procrustes(foreign.vectors, english.vectors[right])
    together = Embeddings(foreign.words, foreign.vectors @ turned_back, "foreign")
    assert precision(align(english, together, start), english, together, gold)[1][1] > 0.4
    assert precision(align(english, together, InductionSettings(("similarity",))), english, together, gold)[1][1] < 0.1


def test_words_spelled_alike_are_enough_to_start_from() -> None:
    english, foreign, gold = planted(0.2, alike=40)
    alignment = align(english, foreign, InductionSettings(starts=("identical",)))
    assert precision(alignment, english, foreign, gold)[1][1] > 0.9


def test_too_few_words_alike_are_an_error_where_nothing_else_is_tried() -> None:
    english, foreign, _ = planted(0.0, alike=5)
    with pytest.raises(DataError, match="fewer than 20 words are spelled alike"):
        align(english, foreign, InductionSettings(starts=("identical", "numerals")))


def test_two_starts_that_find_the_same_agree_and_one_alone_says_nothing() -> None:
    english, foreign, _ = planted(0.1, alike=40)
    both = align(english, foreign, InductionSettings(starts=("identical", "similarity")))
    assert both.agreement is not None
    assert both.agreement > 0.95
    assert align(english, foreign, InductionSettings(starts=("similarity",))).agreement is None


def test_the_best_attempt_is_kept_without_looking_at_gold_data() -> None:
    english, foreign, gold = planted(0.1, alike=25)
    misled = Embeddings(foreign.words[::-1], foreign.vectors, "foreign")  # words alike now mean other things
    gold = {word: {misled.words[foreign.words.index(next(iter(right)))]} for word, right in gold.items()}
    alignment = align(english, misled, InductionSettings(starts=("identical", "similarity")))
    assert alignment.attempts[0].start == "similarity"
    assert alignment.attempts[0].criterion > alignment.attempts[1].criterion
    assert alignment.agreement is not None
    assert alignment.agreement < 0.1
    assert precision(alignment, english, misled, gold)[1][1] > 0.95


def test_procrustes_finds_the_rotation_exactly() -> None:
    random = torch.Generator().manual_seed(0)
    source = torch.randn(50, 8, generator=random)
    rotation, _ = torch.linalg.qr(torch.randn(8, 8, generator=random))
    torch.testing.assert_close(procrustes(source, source @ rotation), rotation, atol=1e-5, rtol=0)


def dense_scores(first: Tensor, second: Tensor) -> Tensor:
    """CSLS written as in the paper, all at once."""
    cosine = first @ second.T
    own = cosine.topk(neighbours.NEIGHBOURS, dim=1).values.mean(dim=1)
    others = cosine.topk(neighbours.NEIGHBOURS, dim=0).values.mean(dim=0)
    return 2 * cosine - own[:, None] - others[None]


@pytest.mark.parametrize("chunk_bytes", [1, 4 * 70 * 7, 1 << 20])
def test_chunks_of_any_size_give_what_the_formula_gives(monkeypatch: pytest.MonkeyPatch, chunk_bytes: int) -> None:
    monkeypatch.setattr(neighbours, "CHUNK_BYTES", chunk_bytes)
    random = torch.Generator().manual_seed(0)
    first, second = (F.normalize(torch.randn(count, 6, generator=random), dim=1) for count in (45, 70))
    scores = dense_scores(first, second)
    found = match(first, second)
    assert torch.equal(found.forward, scores.argmax(dim=1))
    assert torch.equal(found.backward, scores.argmax(dim=0))
    assert found.mutual.tolist() == [
        [row, column]
        for row in range(45)
        for column in range(70)
        if scores[row].argmax() == column and scores[:, column].argmax() == row
    ]
    hubs = neighbours.hubness(second, first)
    assert torch.equal(nearest(first, second, 5, hubs), scores.topk(5, dim=1).indices)


def test_vectors_of_different_dimensions_are_refused() -> None:
    english, foreign, _ = planted(0.0)
    shorter = Embeddings(foreign.words, foreign.vectors[:, :10], "short.vec")
    with pytest.raises(DataError, match=r"short\.vec: these vectors have 10 dimensions, but the English vectors have 20"):
        align(english, shorter, InductionSettings())


def test_vocabularies_of_other_sizes_align_and_one_of_next_to_nothing_is_refused() -> None:
    english, foreign, gold = planted(0.0)
    fewer = Embeddings(foreign.words[:200], foreign.vectors[:200], "few.vec")
    alignment = align(english, fewer, InductionSettings(starts=("similarity",)))
    assert alignment.foreign.shape == (200, DIMENSION)
    assert precision(alignment, english, fewer, gold)[0] == 200
    with pytest.raises(DataError, match=r"few\.vec: there are vectors for 49 words, but an alignment needs at least 50"):
        align(english, Embeddings(fewer.words[:49], fewer.vectors[:49], "few.vec"), InductionSettings())


def test_precision_asks_only_words_that_both_sides_know() -> None:
    english, foreign, gold = planted(0.0)
    alignment = align(english, foreign, InductionSettings(starts=("similarity",)))
    some = dict(list(gold.items())[:50]) | {"unheard": {"of"}, "eaaa": {"unknown"}}
    assert precision(alignment, english, foreign, some)[0] == 49
    assert precision(alignment, english, foreign, {"un": {"known"}}) == (0, {1: 0.0, 5: 0.0})
