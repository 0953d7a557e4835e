"""The adversarial start of MUSE: a mapping learns to fool a network that distinguishes mapped English words from foreign words.

This follows Conneau et al., 2018, section 2.1, with their discriminator, smoothing and learning rate. Two changes make it fast
enough for a CPU. The discriminator has 256 units instead of 2,048. And the game ends when two checks of the refined mapping in
a row find the same translations, which never happens by chance. MUSE's five million words take many hours without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lilift.data.induction.neighbours import agreement
from lilift.data.induction.refinement import FIRST_WORDS, Refined, nearest_rotation, refine

MOST_STEPS = 40_000
LOOK_EVERY = 2_500
SETTLED = 0.5
"""The game ends when more than this share of words has the same translation in two checks in a row."""
_HIDDEN = 256
_BATCH = 32
_DISCRIMINATOR_STEPS = 5
_SMOOTHING = 0.1
_LEARNING_RATE = 0.1
_BETA = 0.01
_LENGTH = 0.6
"""Root mean square of the numbers in a vector, so that the networks get vectors of about the size of fastText's."""


def from_adversary(english: Tensor, foreign: Tensor, *, seed: int, say: Callable[[str], None] = lambda _: None) -> Tensor:
    """Play the game and return its best mapping: [N, D], [M, D] of unit length → [D, D], a rotation.

    Args:
        english: vectors of English words, the most frequent word first.
        foreign: vectors of foreign words, the most frequent word first.
        seed: the seed of all random choices.
        say: receives a line about the progress at each check.
    """
    with torch.random.fork_rng(devices=[english.device] if english.is_cuda else []):
        torch.manual_seed(seed)
        game = Game(english, foreign)
        best: Refined | None = None
        before: Refined | None = None
        for step in range(LOOK_EVERY, MOST_STEPS + 1, LOOK_EVERY):
            game.play(LOOK_EVERY)
            found = refine(english[:FIRST_WORDS], foreign[:FIRST_WORDS], nearest_rotation(game.mapping.detach()))
            alike = agreement(found.matches, before.matches) if before else 0.0
            say(
                f"adversarial, seed {seed}: {step:,} steps, criterion {found.criterion:.4f}, "
                f"{alike:.0%} of the translations as at the last check"
            )
            if best is None or found.criterion > best.criterion:
                best = found
            if alike > SETTLED:
                break
            before = found
    assert best is not None
    return best.mapping


class Game:
    """A linear mapping and a discriminator, trained in turns against each other."""

    def __init__(self, english: Tensor, foreign: Tensor) -> None:
        size = english.shape[1]
        scale = _LENGTH * size**0.5
        self.words = (english * scale, foreign * scale)
        self.mapping = torch.eye(size, device=english.device, requires_grad=True)
        self.discriminator = nn.Sequential(
            nn.Dropout(0.1),
            nn.Linear(size, _HIDDEN),
            nn.LeakyReLU(0.2),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.LeakyReLU(0.2),
            nn.Linear(_HIDDEN, 1),
        ).to(english.device)
        self.mapping_optimizer = torch.optim.SGD([self.mapping], lr=_LEARNING_RATE)
        self.discriminator_optimizer = torch.optim.SGD(self.discriminator.parameters(), lr=_LEARNING_RATE)
        # 1 for an English word, 0 for a foreign one, both smoothed.
        is_english = torch.cat([torch.full((_BATCH,), 1 - _SMOOTHING), torch.full((_BATCH,), _SMOOTHING)])
        self.is_english = is_english.to(english.device)  # [2B]

    def play(self, steps: int) -> None:
        """Update the mapping this many times, each time after some updates of the discriminator."""
        for _ in range(steps):
            self.discriminator.train()
            for _ in range(_DISCRIMINATOR_STEPS):
                self._learn(self.discriminator_optimizer, self._drawn().detach(), self.is_english)
            self.discriminator.eval()
            self._learn(self.mapping_optimizer, self._drawn(), 1 - self.is_english)
            with torch.no_grad():  # back towards a rotation
                mapping = self.mapping
                mapping.copy_((1 + _BETA) * mapping - _BETA * mapping @ (mapping.T @ mapping))

    def _drawn(self) -> Tensor:
        english, foreign = (words[torch.randint(len(words), (_BATCH,), device=words.device)] for words in self.words)
        return torch.cat([english @ self.mapping, foreign])  # [2B, D]

    def _learn(self, optimizer: torch.optim.Optimizer, vectors: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(F.binary_cross_entropy_with_logits(self.discriminator(vectors)[:, 0], labels))
        optimizer.step()
