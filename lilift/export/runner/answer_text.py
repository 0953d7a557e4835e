"""Chooses the tokens of one answer from the LLM's logits, and makes its text of them."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lilift.export.runner.llama_cpp import Floats
from lilift.model.decoding.sampling import Sampling

Ending = Literal["stop", "length"]


@dataclass(frozen=True)
class Piece:
    """A part of an answer.

    Attributes:
        text: the next part of the text; may be empty.
        tokens: number of tokens of the answer so far.
        ending: why the answer ends; only set in the last piece.
    """

    text: str
    tokens: int
    ending: Ending | None = None


class AnswerText:
    """The text of one answer while it grows.

    Args:
        piece_of: the UTF-8 bytes of a token.
        stop: tokens that end the answer.
        most: tokens of the longest answer.
        choose: a function from the logits [V] of the next token to its id.

    Attributes:
        token: the last token; the LLM has to read it before the next one.
    """

    def __init__(
        self, piece_of: Callable[[int], bytes], stop: Container[int], most: int, choose: Callable[[Floats], int]
    ) -> None:
        self._piece_of, self._stop, self._most, self._choose = piece_of, stop, most, choose
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._said = False
        self._count = 0
        self.token = -1

    def after(self, logits: Floats) -> Piece:
        """Choose the next token; return the text that it adds."""
        self.token = self._choose(logits)
        if self.token in self._stop:
            return Piece(self._decoder.decode(b"", final=True), self._count, "stop")
        self._count += 1
        last = self._count == self._most
        text = self._decoder.decode(self._piece_of(self.token), final=last)
        if not self._said:
            text = text.lstrip()  # the space between opener and answer
            self._said = bool(text)
        return Piece(text, self._count, "length" if last else None)


def chooser(sampling: Sampling | None, seed: int) -> Callable[[Floats], int]:
    """A function from the logits [V] of the next token to its id."""
    if sampling is None:
        return lambda logits: int(logits.argmax())
    generator = np.random.default_rng([sampling.seed, seed])
    return lambda logits: drawn(logits, float(generator.random()), sampling)


def drawn(logits: Floats, uniform: float, sampling: Sampling) -> int:
    """Sample one token in the same way as `lilift.model.decoding.sampling.draw`.

    Args:
        logits: [V].
        uniform: in [0, 1).
        sampling: temperature and top_p.
    """
    scaled = logits.astype(np.float64) / sampling.temperature
    shares = np.exp(scaled - scaled.max())
    shares /= shares.sum()
    ordered = np.sort(shares)[::-1]
    least = ordered[np.cumsum(ordered) - ordered < sampling.top_p].min()  # probability of the least likely possible token
    summed = np.cumsum(np.where(shares < least, 0.0, shares))
    target = min(uniform * summed[-1], np.nextafter(summed[-1], 0.0))
    return int(np.searchsorted(summed, target, side="right"))
