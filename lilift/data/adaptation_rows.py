"""The rows of an adaptation of the encoder: texts with masked tokens, half of them English.

The encoder learns to fill in the masked tokens, as in its own pretraining. It is also asked for some tokens that it sees, so
that its states still tell which word stands there: the alignment layer reads nothing else.
"""

from __future__ import annotations

import random
import textwrap
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from lilift.data.batches.batching import SequenceShape
from lilift.data.texts.examples import Row
from lilift.recipe.schema import AdaptSettings

TOKENS_PER_STEP = 1024
"""Tokens of one optimizer step, which are in memory at once."""
LONGEST = 128
"""Tokens of the longest row. A longer text is cut into several, because the cost of attention grows with the square."""
HIDDEN, SHOWN = 0.15, 0.15
"""Shares of a text's tokens that the encoder is asked for: masked, and as they stand."""
UNSEEN_SHARE, MOST_UNSEEN = 0.1, 200
"""So many of the texts are kept back, to measure the loss on texts that no step has read."""
_PIECE = 400  # characters; with one token for four letters, a piece has about 100 tokens

Tokens = tuple[int, ...]


def tokens_of_adaptation(settings: AdaptSettings) -> int:
    """About how many tokens of foreign text an adaptation reads: half of all."""
    return settings.steps * TOKENS_PER_STEP // 2


def pieces(lines: Iterable[str]) -> list[str]:
    """Lines of text, and the parts of long ones, cut between words where there are any."""
    return [part for line in lines for part in textwrap.wrap(line, _PIECE, break_on_hyphens=False)]


def kept_back(texts: Sequence[Tokens], seed: int) -> tuple[list[Tokens], list[Tokens]]:
    """Texts to learn from and texts to measure on, drawn at random; of a single text, there is none to measure on."""
    count = min(MOST_UNSEEN, round(UNSEEN_SHARE * len(texts)))
    chosen = set(random.Random(f"unseen {seed}").sample(range(len(texts)), count))
    return (
        [text for place, text in enumerate(texts) if place not in chosen],
        [text for place, text in enumerate(texts) if place in chosen],
    )


def most_frequent(texts: Iterable[Tokens], count: int) -> tuple[int, ...]:
    """The tokens that are most frequent in texts, in the order of their numbers."""
    found = Counter(token for text in texts for token in text)
    ranked = sorted(found, key=lambda token: (-found[token], token))
    return tuple(sorted(ranked[:count]))


@dataclass(frozen=True)
class MaskedShape(SequenceShape):
    """The length of a masked row is that of its text: no LLM reads it."""

    def packed_length(self, row: Row, *, has_llm_bos: bool) -> int:  # noqa: ARG002
        """Tokens of the text."""
        return len(row.encoder_ids)


MASKED_SHAPE = MaskedShape(has_bos=False, has_eos=False, latents=None)


@dataclass(frozen=True)
class Masking:
    """How texts are masked.

    Attributes:
        mask: the token that stands for a masked one.
        asked: the tokens that the encoder may be asked for. Those around every text are none of them.
        seed: of the draws.
    """

    mask: int
    asked: Collection[int]
    seed: int

    def row(self, text: Tokens, epoch: int, index: int) -> Row | None:
        """The row of a text; None if it has no token to ask for.

        Its `encoder_ids` are the text with masks, its `prompt_ids` the places of the tokens that are asked for, and its
        `response_ids` these tokens.
        """
        places = [place for place, token in enumerate(text) if token in self.asked]
        if not places:
            return None
        rng = random.Random(f"mask {self.seed} {epoch} {index}")
        drawn = {place: rng.random() for place in places}
        hidden = {place for place, chance in drawn.items() if chance < HIDDEN} or {rng.choice(places)}
        wanted = [place for place in places if place in hidden or drawn[place] < HIDDEN + SHOWN]
        ids = tuple(self.mask if place in hidden else token for place, token in enumerate(text))
        return Row(ids, tuple(wanted), tuple(text[place] for place in wanted))


@dataclass(frozen=True)
class AdaptationRows:
    """Foreign and English texts in turn; a `lilift.data.batches.step_grouping.RowSource`.

    Every epoch has all foreign texts once, and as many English ones, of which there may be more or fewer.

    Attributes:
        foreign: the texts in the languages that the encoder is to learn.
        english: the English texts.
        masking: draws other masks in each epoch.
    """

    foreign: Sequence[Tokens]
    english: Sequence[Tokens]
    masking: Masking

    def __len__(self) -> int:
        return len(self.foreign) * (2 if self.english else 1)

    def rows(self, epoch: int, indices: Sequence[int]) -> list[Row | None]:
        """The rows at `indices`."""
        return [self.masking.row(self._text(epoch, index), epoch, index) for index in indices]

    def row_name(self, index: int) -> str:
        """The name of the row at `index` in errors."""
        return f"text {index + 1} of the adaptation"

    def _text(self, epoch: int, index: int) -> Tokens:
        count = len(self.foreign)
        if index < count:
            return self.foreign[index]
        return self.english[(epoch * count + index - count) % len(self.english)]
