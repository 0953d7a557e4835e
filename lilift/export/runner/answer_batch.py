"""Answers that grow side by side: each step of the LLM adds one token to every answer (continuous batching).

Every answer has exactly the same tokens as alone. Three things see to that:

- each answer has a sequence of its own, with its own keys and values;
- each prompt is read alone, in the same pieces as ever;
- each step has a *width* that gives the same bits as every other width in use. llama.cpp computes some products in another
  order if a step has one, four or eight tokens, depending on the type of the weights and on the processor. `agreeing_widths`
  tries the widths out, and `AnswerBatch` fills a step up to the next one that agrees with the widest.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lilift.export.runner.answer_text import AnswerText, Piece, chooser
from lilift.export.runner.description import Description
from lilift.export.runner.llama_cpp import Floats, LlamaDecoder
from lilift.model.decoding.sampling import Sampling

_TRIED_TOKENS = 4
_FILLER = 0  # a token for sequences that have no answer


@dataclass(frozen=True)
class Prompt:
    """A question, ready for the LLM.

    Attributes:
        vectors: [N, D] soft tokens with the learned vectors around them.
        tokens: the tokens of the prompt text.
        source_tokens: number of the question's tokens in the encoder, with those that were cut.
        cut: whether the question was longer than the encoder can read.
    """

    vectors: Floats
    tokens: list[int]
    source_tokens: int
    cut: bool


class PromptReader(Protocol):
    """What an `AnswerBatch` needs of `ExportedBridge`."""

    description: Description

    @property
    def longest_sequence(self) -> int:
        """Positions of a question and its answer together."""

    def positions(self, prompt: Prompt) -> int:
        """Positions of a prompt."""

    def longest_answer(self, prompt: Prompt, max_new_tokens: int) -> int:
        """Tokens of the longest answer."""

    def read(self, prompt: Prompt, sequence: int = 0) -> None:
        """Let the LLM read a prompt."""


class AnswerBatch:
    """Answers of one export that grow side by side, for one thread. Other answers of the export wait while there are any.

    The sequences have room for training's longest question and answer. A request that needs more waits until the others are
    complete, and then gets a longer sequence, with fewer beside it. So a single request cannot fill the memory.

    Args:
        bridge: the export.
        llm: its LLM.
        generating: held while there are answers.
        answers: the most answers at the same time.

    Raises:
        ModelError: there is not enough memory for so many.
    """

    def __init__(self, bridge: PromptReader, llm: LlamaDecoder, generating: threading.Lock, answers: int) -> None:
        self._bridge, self._llm, self._generating = bridge, llm, generating
        self._texts: dict[int, AnswerText] = {}
        self._with_bos: set[int] = set()  # sequences that begin with the BOS token
        longest = bridge.longest_sequence
        usual = min(longest, bridge.description.max_tokens + bridge.description.max_new_tokens)
        with generating:
            llm.open(answers, usual)
            self.widths = agreeing_widths(llm, answers)
        self._usual, self._long = (self.widths[-1], usual), (self.widths[0], longest)

    def __len__(self) -> int:
        return len(self._texts)

    def has_room(self, prompt: Prompt, max_new_tokens: int) -> bool:
        """Whether an answer can start now.

        Raises:
            DataError: the question leaves no room for an answer.
        """
        if not self._texts:
            return True
        shape = self._shape_for(prompt, max_new_tokens)
        return shape == self._shape and len(self._texts) < shape[0]

    def start(self, prompt: Prompt, *, max_new_tokens: int, sampling: Sampling | None, seed: int) -> tuple[int, Piece]:
        """Let the LLM read a prompt for which there is room; see `ExportedBridge.stream`.

        Returns:
            The number of the answer, and its first piece. If this is its last piece, there is no such answer any more.

        Raises:
            DataError: the question leaves no room for an answer.
            ModelError: llama.cpp failed.
        """
        most = self._bridge.longest_answer(prompt, max_new_tokens)
        if not self._texts:
            self._shape = self._shape_for(prompt, max_new_tokens)
            self._generating.acquire()
            self._with_bos.clear()  # meanwhile, another answer of the export may have used the sequences
        try:
            self._llm.open(*self._shape)
            number = next(number for number in range(self._shape[0]) if number not in self._texts)
            self._empty(number)
            self._bridge.read(prompt, number)
            if self._bridge.description.llm.bos is not None:
                self._with_bos.add(number)
            text = AnswerText(self._llm.piece, self._bridge.description.llm.stop, most, chooser(sampling, seed))
            piece = text.after(self._llm.logits())
            if piece.ending is None:
                self._texts[number] = text
        finally:
            self._release_if_empty()
        return number, piece

    def step(self) -> dict[int, Piece]:
        """The next piece of every answer; an answer that ends leaves.

        Raises:
            ModelError: llama.cpp failed; all answers have left.
        """
        tokens = {number: text.token for number, text in self._texts.items()}
        try:
            logits = self._llm.read_side_by_side(self._filled(tokens))
        except Exception:
            for number in tokens:
                self.leave(number)
            raise
        pieces = {}
        for row, (number, text) in zip(logits, list(self._texts.items()), strict=False):
            pieces[number] = text.after(row)
            if pieces[number].ending is not None:
                self.leave(number)
        return pieces

    def leave(self, number: int) -> None:
        """End an answer, for example because nobody waits for it."""
        if number in self._texts:
            del self._texts[number]
            self._release_if_empty()

    def _shape_for(self, prompt: Prompt, max_new_tokens: int) -> tuple[int, int]:
        need = self._bridge.positions(prompt) + self._bridge.longest_answer(prompt, max_new_tokens)
        return self._usual if need <= self._usual[1] else self._long

    def _filled(self, tokens: Mapping[int, int]) -> dict[int, int]:
        """The tokens of a step, with tokens of empty sequences up to a width that gives the same bits."""
        width = next(width for width in self.widths if width >= len(tokens))
        filled = dict(tokens)
        for number in range(self._shape[0]):
            if len(filled) == width:
                break
            if number not in filled:
                self._empty(number)
                filled[number] = _FILLER
        return filled

    def _empty(self, number: int) -> None:
        """Empty a sequence, but for the BOS token, with which every prompt begins and which is always read alone."""
        self._llm.forget(number, keep=number in self._with_bos)

    def _release_if_empty(self) -> None:
        if not self._texts:
            self._generating.release()


def agreeing_widths(llm: LlamaDecoder, most: int) -> list[int]:
    """The numbers of sequences that one step may have, in ascending order, so that a sequence gets the same bits in each.

    Args:
        llm: with at least `most` sequences; they are empty afterwards.
        most: the widest step.
    """
    found = [_tried(llm, width) for width in range(1, most + 1)]
    # The widest step in which all sequences, which hold the same tokens, get the same bits.
    widest = max(width for width, rows in enumerate(found, start=1) if all((rows[:, :1] == rows).all(-1).ravel()))
    kept = found[widest - 1][:, 0]
    return [width for width, rows in enumerate(found[:widest], start=1) if (rows == kept[:, None]).all()]


def _tried(llm: LlamaDecoder, width: int) -> Floats:
    """Logits [T, B, V] of a few tokens, the same in every sequence."""
    for number in range(width):
        llm.forget(number)
    steps = [dict.fromkeys(range(width), (7 * place) % llm.vocabulary_size) for place in range(1, _TRIED_TOKENS + 1)]
    rows = np.stack([llm.read_side_by_side(tokens).copy() for tokens in steps])
    for number in range(width):
        llm.forget(number)
    return rows
