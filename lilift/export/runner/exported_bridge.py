"""Answers questions with an exported bundle: encoder → alignment layer → LLM, or an LLM alone, without torch.

docs/export.md describes the computation step by step; `lilift.model.bridge` does the same in torch. An answer never depends on
other questions, even if answers grow side by side.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil

from lilift.data.batches.control_tokens import ControlTokens
from lilift.data.composed_text import composed
from lilift.export.runner.answer_batch import AnswerBatch, Prompt
from lilift.export.runner.answer_text import AnswerText, Piece, chooser
from lilift.export.runner.description import check_parts, read_description
from lilift.export.runner.llama_cpp import LlamaDecoder
from lilift.export.runner.prompt_tokenizer import PromptTokenizer
from lilift.export.runner.question_encoder import question_encoder
from lilift.model.decoding.sampling import Sampling
from lilift.recipe.errors import DataError, RunFolderError

LONGEST_SEQUENCE = 4096
"""Positions of a question and its answer together, unless training had longer sequences.

The cache of keys and values grows with them (0.5 MiB for each position of Llama 2 7B), and a single request to a server must
not fill the memory."""
SMALL_MODEL = 32 * 2**20
"""Bytes of an LLM's file below which one thread is fastest: several would wait for each other longer than they compute."""


class ExportedBridge:
    """A bundle that `lilift export --to gguf` wrote.

    Args:
        folder: the bundle.
        quantisation: the type of the LLM file; the first type of the bundle if left out.
        threads: cores to compute on. If left out, all physical cores that this process may use, or one if the LLM's file has
            fewer than `SMALL_MODEL` bytes.

    Raises:
        EnvironmentUnfit: llama.cpp is not installed.
        RunFolderError: the bundle is incomplete, or a part was changed or belongs to another bundle.
        RecipeError: the bundle has no LLM file of this type.
        ModelError: llama.cpp cannot load a part.
    """

    def __init__(self, folder: Path, *, quantisation: str | None = None, threads: int | None = None) -> None:
        description = read_description(folder)
        self.folder, self.description = folder, description
        self.quantisation, llm_file = description.llm_file(quantisation)
        self.parts = (*description.bridge_files, llm_file)
        check_parts(folder, description, self.parts)
        if threads is None:
            threads = 1 if (folder / llm_file).stat().st_size < SMALL_MODEL else usable_cores()
        self.threads = threads
        self._encoder = question_encoder(folder, description, threads=threads)
        self._llm = LlamaDecoder(folder / llm_file, threads=threads, exact=self.quantisation == "f32")
        self._control_tokens = ControlTokens(PromptTokenizer(self._llm, description.llm, folder))
        self._check_sizes()
        self._generating, self._scoring = threading.Lock(), threading.Lock()
        self._scorer: LlamaDecoder | None = None

    @property
    def name(self) -> str:
        """The name of this model, for example in the server's list of models."""
        return f"{self.description.recipe}-{self.quantisation}"

    @property
    def longest_sequence(self) -> int:
        """Positions of a question and its answer together."""
        trained = self.description.max_tokens + self.description.max_new_tokens
        return min(self.description.llm.context_length, max(trained, LONGEST_SEQUENCE))

    @property
    def sums(self) -> dict[str, str]:
        """The SHA-256 of every part that takes part in an answer."""
        return {name: self.description.sha256[name] for name in self.parts}

    def cuts(self, questions: Sequence[str]) -> list[bool]:
        """For each question, whether it has more tokens than the encoder can read; never, if there is no encoder."""
        encoder = self._encoder
        return [encoder is not None and encoder.cuts(question) for question in questions]

    def prepare(self, question: str) -> Prompt:
        """Compute the LLM's input for a question.

        Raises:
            DataError: the question is empty.
        """
        question = _not_empty(question)
        (tokens,) = self._control_tokens.encode([self.description.prompt(self._control_tokens.mark(question))])
        if self._encoder is None:
            nothing = np.empty((0, self._llm.hidden_size), dtype=np.float32)
            return Prompt(nothing, tokens, len(tokens), cut=False)
        encoded = self._encoder.encode(question)
        return Prompt(encoded.vectors, tokens, encoded.source_tokens, cut=encoded.cut)

    def prepare_text(self, question: str) -> Prompt:
        """The LLM's input for a question that it reads as text, without encoder and soft tokens, in the prompt of training.

        Raises:
            DataError: the question is empty.
        """
        question = _not_empty(question)
        (tokens,) = self._control_tokens.encode([self.description.text_prompt(self._control_tokens.mark(question))])
        return Prompt(np.empty((0, self._llm.hidden_size), np.float32), tokens, 0, cut=False)

    def text_bits(self, text: str) -> tuple[int, float]:
        """The LLM's tokens of a text, and the text's negative log-likelihood in base 2 after the BOS or a stop token.

        It has keys and values of its own, so answers may grow meanwhile.
        """
        tokens = self._control_tokens.encode_as_text(composed(text.strip()))
        llm = self.description.llm
        first = next(iter(llm.stop), 0) if llm.bos is None else llm.bos
        with self._scoring:
            if self._scorer is None:
                self._scorer = self._llm.second()
            return len(tokens), -self._scorer.log_probability(first, tokens) / float(np.log(2))

    def stream(
        self, prompt: Prompt, *, max_new_tokens: int, sampling: Sampling | None = None, seed: int = 0
    ) -> Iterator[Piece]:
        """An answer, piece by piece; the last piece says why it ended. Other answers wait until it is complete.

        Args:
            prompt: the result of `prepare` for the question.
            max_new_tokens: the longest answer; it is shorter if the sequence would get too long.
            sampling: how tokens are sampled; None always takes the most likely token.
            seed: the seed of this answer, used together with the seed of the sampling.

        Raises:
            DataError: the question leaves no room for an answer.
        """
        most = self.longest_answer(prompt, max_new_tokens)
        with self._generating:
            self._llm.begin(self.positions(prompt) + most)
            self.read(prompt)
            text = AnswerText(self._llm.piece, self.description.llm.stop, most, chooser(sampling, seed))
            piece = text.after(self._llm.logits())
            while piece.ending is None:
                yield piece
                self._llm.read_tokens([text.token])
                piece = text.after(self._llm.logits())
            yield piece

    def positions(self, prompt: Prompt) -> int:
        """Positions of a prompt in the LLM's sequence."""
        return (self.description.llm.bos is not None) + len(prompt.vectors) + len(prompt.tokens)

    def longest_answer(self, prompt: Prompt, max_new_tokens: int) -> int:
        """Tokens of the longest answer for which a sequence has room.

        Raises:
            DataError: there is no room.
        """
        read = self.positions(prompt)
        most = min(max_new_tokens, self.longest_sequence - read)
        if most < 1:
            raise DataError(
                f"the question takes {read} of {self.longest_sequence} positions, so there is no room for an answer",
                remedy="ask a shorter question",
            )
        return most

    def read(self, prompt: Prompt, sequence: int = 0) -> None:
        """Let the LLM read a prompt in a sequence that is empty or holds the BOS token."""
        if self.description.llm.bos is not None and not self._llm.length(sequence):
            self._llm.read_tokens([self.description.llm.bos], sequence)
        if len(prompt.vectors):
            self._llm.read_vectors(prompt.vectors, sequence)
        self._llm.read_tokens(prompt.tokens, sequence)

    def batch(self, answers: int) -> AnswerBatch:
        """Answers that grow side by side.

        Args:
            answers: how many at the same time.

        Raises:
            ModelError: there is not enough memory for so many.
        """
        return AnswerBatch(self, self._llm, self._generating, answers)

    def close(self) -> None:
        """Free the memory of the models."""
        if self._encoder is not None:
            self._encoder.close()
        if self._scorer is not None:
            self._scorer.close()
        self._llm.close()

    def _check_sizes(self) -> None:
        """Check that the parts fit together, even if each has the right checksum.

        Raises:
            RunFolderError: sizes or special tokens do not match.
        """
        if self._encoder is not None:
            self._encoder.check_sizes(self.description.llm_file(self.quantisation)[1], self._llm.hidden_size)
        ids = [*self.description.llm.stop, *([] if self.description.llm.bos is None else [self.description.llm.bos])]
        if not all(0 <= token < self._llm.vocabulary_size for token in ids):
            raise RunFolderError(
                "lilift.json has special tokens that the LLM does not have", where=self.folder, remedy="export the run again"
            )


def _not_empty(question: str) -> str:
    """The question in Unicode's form NFC.

    Raises:
        DataError: it is empty.
    """
    if not question.strip():
        raise DataError("the question is empty", remedy="write a question")
    return composed(question)


def usable_cores() -> int:
    """Number of physical cores that this process may use; a second thread on a core only slows llama.cpp down."""
    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else physical
    return max(1, min(physical, allowed))
