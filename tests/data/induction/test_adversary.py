"""MUSE's adversarial start: the mapping learns to turn one language onto the other, and ends when it has settled."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lilift.data.induction import adversary
from lilift.data.induction.adversary import Game, from_adversary
from lilift.data.induction.refinement import nearest_rotation
from lilift.data.induction.vector_alignment import InductionSettings, align, precision
from lilift.data.induction.word_vectors import Embeddings

DIMENSION = 8


def two_spaces(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Words in a large topic and two small ones, the same words rotated, the rotation, and the middle of the large topic."""
    random = torch.Generator().manual_seed(seed)
    topics = F.normalize(torch.randn(3, DIMENSION, generator=random), dim=1)
    chosen = torch.multinomial(torch.tensor([0.6, 0.3, 0.1]), 300, replacement=True, generator=random)
    words = F.normalize(topics[chosen] + 0.3 * torch.randn(300, DIMENSION, generator=random), dim=1)
    rotation, _ = torch.linalg.qr(torch.randn(DIMENSION, DIMENSION, generator=random))
    return words, words @ rotation, rotation, topics[0]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_mapping_learns_without_a_single_pair_where_the_words_of_a_topic_lie(seed: int) -> None:
    english, foreign, rotation, topic = two_spaces(seed)
    right = topic @ rotation
    assert topic @ right < 0
    torch.manual_seed(seed)
    game = Game(english, foreign)
    game.play(150)
    mapping = game.mapping.detach()
    assert F.cosine_similarity(topic @ mapping, right, dim=0) > 0.8
    assert F.cosine_similarity(topic @ nearest_rotation(mapping), right, dim=0) > 0.8


def test_a_seed_draws_the_same_game_and_leaves_the_users_random_numbers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adversary, "LOOK_EVERY", 5)
    monkeypatch.setattr(adversary, "MOST_STEPS", 10)
    english, foreign, _, _ = two_spaces(0)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, again, other = (from_adversary(english, foreign, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.testing.assert_close(first @ first.T, torch.eye(DIMENSION), atol=1e-5, rtol=0)


def test_a_settled_game_ends_and_the_seeds_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adversary, "LOOK_EVERY", 5)
    random = torch.Generator().manual_seed(0)
    vectors = torch.randn(400, 20, generator=random)
    order = torch.randperm(400, generator=random)
    english = Embeddings([f"e{index}" for index in range(400)], vectors, "english")
    foreign = Embeddings([f"f{index}" for index in order.tolist()], vectors[order], "foreign")
    gold = {f"e{index}": {f"f{index}"} for index in range(400)}
    lines: list[str] = []
    # The spaces lie on each other already, which is where the game begins.
    alignment = align(english, foreign, InductionSettings(starts=("adversarial",), seeds=2), say=lines.append)
    assert [(attempt.start, attempt.seed) for attempt in alignment.attempts] == [("adversarial", 0), ("adversarial", 1)]
    assert precision(alignment, english, foreign, gold)[1][1] == 1.0
    assert alignment.agreement == 1.0
    assert [line.split(":")[0] for line in lines] == ["adversarial, seed 0"] * 3 + ["adversarial, seed 1"] * 3
