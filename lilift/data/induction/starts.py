"""First, rough mappings between two vector spaces: from words spelled alike, from the shape of similarities, or by a game
between two networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lilift.data.induction.neighbours import match

FEWEST_ANCHORS = 20
"""A mapping from fewer words spelled alike is no better than chance."""
_SIGNATURE = 300
_SIGNED_WORDS = 8_000
_SMOOTHING = 0.1
_BETA = 0.001
_CHECKS = 20


def procrustes(source: Tensor, target: Tensor) -> Tensor:
    """The rotation W that brings source @ W nearest to target (Schönemann, 1966): [P, D], [P, D] → [D, D]."""
    return _nearest_rotation(source.T @ target)


def _nearest_rotation(matrix: Tensor) -> Tensor:
    left, _, right = torch.linalg.svd(matrix)
    rotation: Tensor = left @ right
    return rotation


def anchors(english: Sequence[str], foreign: Sequence[str], *, numerals_only: bool) -> list[tuple[int, int]]:
    """Positions of words that are spelled alike in both vocabularies: names, loans and numerals, or numerals alone."""
    position = {word: index for index, word in enumerate(foreign)}
    return [
        (index, position[word])
        for index, word in enumerate(english)
        if word in position and (word.isdigit() or not numerals_only)
    ]


def from_anchors(pairs: Sequence[tuple[int, int]], english: Tensor, foreign: Tensor) -> Tensor:
    """The mapping that words spelled alike suggest."""
    rows = torch.tensor(pairs, device=english.device)
    return procrustes(english[rows[:, 0]], foreign[rows[:, 1]])


def from_similarities(english: Tensor, foreign: Tensor) -> Tensor:
    """The mapping between words whose similarities to all words of their own language are distributed alike.

    A word and its translation have as many near and far neighbours; sorted, these similarities are a signature that no rotation
    changes.
    """
    pairs = match(_signatures(english), _signatures(foreign)).mutual
    return procrustes(english[pairs[:, 0]], foreign[pairs[:, 1]])


def _signatures(vectors: Tensor) -> Tensor:
    """[N, D] → [≤ N, S] quantiles of each frequent word's similarities to all, standardised over words and of unit length."""
    positions = torch.linspace(0, len(vectors) - 1, min(_SIGNATURE, len(vectors)), device=vectors.device).round().long()
    rows = max(1, (64 << 20) // (4 * len(vectors)))
    frequent = vectors[:_SIGNED_WORDS]
    parts = [(frequent[at : at + rows] @ vectors.T).sort(dim=1).values[:, positions] for at in range(0, len(frequent), rows)]
    signatures = torch.cat(parts)
    return F.normalize((signatures - signatures.mean(dim=0)) / signatures.std(dim=0).clamp_min(1e-6), dim=1)


def by_adversary(english: Tensor, foreign: Tensor, *, seed: int, steps: int, hidden: int = 512, batch: int = 64) -> Tensor:
    """The mapping that a second network fails to tell mapped English words from foreign ones by (MUSE, section 2.1).

    Args:
        english: [N, D] of unit length.
        foreign: [M, D] of unit length.
        seed: of everything drawn.
        steps: updates of the mapping, each after five of the discriminator.
        hidden: width of the discriminator. MUSE's 2,048 takes hours on a CPU.
        batch: words of each language in an update.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        game = Game(english, foreign, hidden, batch)
        best, best_value = game.mapping.detach().clone(), -1.0
        for step in range(1, steps + 1):
            for _ in range(5):
                game.train_discriminator()
            game.train_mapping()
            if step % max(1, steps // _CHECKS) == 0:
                value = match(F.normalize(english[:3000] @ game.mapping.detach(), dim=1), foreign[:3000]).criterion
                if value > best_value:
                    best, best_value = game.mapping.detach().clone(), value
                else:
                    game.slow_down()
    return _nearest_rotation(best)


class Game:
    """A linear mapping against a discriminator, in turns."""

    def __init__(self, english: Tensor, foreign: Tensor, hidden: int, batch: int) -> None:
        size = english.shape[1]
        # Numbers of about 1, as the discriminator's layers expect them.
        self.words = (english * size**0.5, foreign * size**0.5)
        self.batch = batch
        self.mapping = torch.eye(size, device=english.device, requires_grad=True)
        self.discriminator = nn.Sequential(
            nn.Dropout(0.1),
            nn.Linear(size, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, 1),
        ).to(english.device)
        self.mapping_optimizer = torch.optim.SGD([self.mapping], lr=0.1)
        self.discriminator_optimizer = torch.optim.SGD(self.discriminator.parameters(), lr=0.1)
        # 1 where the word is English, both smoothed.
        self.labels = torch.cat([torch.full((batch,), 1 - _SMOOTHING), torch.full((batch,), _SMOOTHING)]).to(english.device)

    def _draw(self) -> Tensor:
        english, foreign = (words[torch.randint(len(words), (self.batch,), device=words.device)] for words in self.words)
        return torch.cat([english @ self.mapping, foreign])  # [2B, D]

    def _loss(self, labels: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.discriminator(self._draw())[:, 0], labels)

    def train_discriminator(self) -> None:
        self.discriminator_optimizer.zero_grad()
        torch.autograd.backward(self._loss(self.labels))
        self.discriminator_optimizer.step()

    def train_mapping(self) -> None:
        self.mapping_optimizer.zero_grad()
        torch.autograd.backward(self._loss(1 - self.labels))
        self.mapping_optimizer.step()
        with torch.no_grad():  # back towards a rotation
            mapping = self.mapping
            mapping.copy_((1 + _BETA) * mapping - _BETA * mapping @ mapping.T @ mapping)

    def distance_of_means(self) -> float:
        """Between the mean mapped English word and the mean foreign one."""
        english, foreign = self.words
        return float((english.mean(dim=0) @ self.mapping.detach() - foreign.mean(dim=0)).norm())

    def slow_down(self) -> None:
        for group in self.mapping_optimizer.param_groups:
            group["lr"] *= 0.7
