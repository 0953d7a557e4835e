"""The first half of an exported bridge: a question becomes soft tokens, through the encoder and the alignment layer."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece

from lilift.data.composed_text import composed
from lilift.export.runner.description import AlignmentPart, Description, EncoderPart
from lilift.export.runner.llama_cpp import Floats, LlamaEncoder
from lilift.export.runner.soft_tokens import EmbeddingTable, SoftTokens
from lilift.recipe.errors import RunFolderError


@dataclass(frozen=True)
class EncodedQuestion:
    """What the encoder makes of a question.

    Attributes:
        vectors: [N, D] soft tokens with the learned vectors around them.
        source_tokens: number of the question's tokens in the encoder, with those that were cut.
        cut: whether the question was longer than the encoder can read.
    """

    vectors: Floats
    source_tokens: int
    cut: bool


class QuestionEncoder:
    """Encoder and alignment layer of an export.

    Args:
        folder: the export.
        encoder, alignment: their parts of its description.
        embedding_scale: what the LLM multiplies its embeddings with.
        threads: cores to compute on.

    Raises:
        EnvironmentUnfit: llama.cpp is not installed.
        RunFolderError: a file is damaged.
        ModelError: llama.cpp cannot load the encoder.
    """

    def __init__(
        self, folder: Path, encoder: EncoderPart, alignment: AlignmentPart, *, embedding_scale: float, threads: int
    ) -> None:
        self._folder, self._part, self._alignment_file = folder, encoder, alignment.file
        self._scale = np.float32(embedding_scale)
        self._processor = _sentencepiece(folder / encoder.tokenizer.file)
        self._soft_tokens = SoftTokens(folder / alignment.file)
        self._embeddings = EmbeddingTable(folder / encoder.file) if encoder.add_embeddings else None
        self._encoder = LlamaEncoder(folder / encoder.file, longest=encoder.max_tokens, threads=threads)
        self._encoding = threading.Lock()

    def encode(self, question: str) -> EncodedQuestion:
        """The soft tokens of a question."""
        ids, source_tokens = self.source_ids(question)
        with self._encoding:
            states = self._encoder.states(ids)
        if self._embeddings is not None:
            states = self._embeddings.added_to(states, ids)
        vectors = self._soft_tokens.frame(states) / self._scale
        return EncodedQuestion(vectors, source_tokens, cut=source_tokens > len(ids))

    def cuts(self, question: str) -> bool:
        """Whether a question has more tokens than the encoder can read."""
        return self.source_ids(question)[1] > self._part.max_tokens

    def close(self) -> None:
        """Free the memory of the encoder."""
        self._encoder.close()

    def check_sizes(self, llm_file: str, llm_hidden_size: int) -> None:
        """Check that the parts fit together, even if each has the right checksum.

        Raises:
            RunFolderError: sizes or special tokens do not match.
        """
        expected = {
            self._part.file: (self._encoder.hidden_size, self._part.hidden_size),
            self._alignment_file: (self._soft_tokens.encoder_size, self._encoder.hidden_size),
            llm_file: (llm_hidden_size, self._soft_tokens.llm_size),
        }
        for name, (found, wanted) in expected.items():
            if found != wanted:
                raise RunFolderError(
                    f"{name} does not fit the other parts: its hidden size is {found}, not {wanted}",
                    where=self._folder,
                    remedy="export the run again",
                )
        framing = [*self._part.tokenizer.prefix, *self._part.tokenizer.suffix]
        if not all(0 <= token < self._encoder.vocabulary_size for token in framing):
            raise RunFolderError(
                "lilift.json has special tokens that the encoder does not have",
                where=self._folder,
                remedy="export the run again",
            )

    def source_ids(self, question: str) -> tuple[list[int], int]:
        """The encoder's tokens, cut to the encoder's limit, and their number before the cut."""
        part = self._part
        prefix, suffix = part.tokenizer.prefix, part.tokenizer.suffix
        ids: list[int] = self._processor.encode(f"{part.prefix}{composed(question.strip())}")
        room = max(0, part.max_tokens - len(prefix) - len(suffix))
        return [*prefix, *ids[:room], *suffix], len(prefix) + len(ids) + len(suffix)


def question_encoder(folder: Path, description: Description, *, threads: int) -> QuestionEncoder | None:
    """The encoder and alignment layer of an export, or None if its LLM reads questions itself; see `QuestionEncoder`."""
    if description.encoder is None or description.alignment is None:
        return None
    scale = description.llm.embedding_scale
    return QuestionEncoder(folder, description.encoder, description.alignment, embedding_scale=scale, threads=threads)


def _sentencepiece(path: Path) -> sentencepiece.SentencePieceProcessor:
    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise RunFolderError(
            f"the file is not a SentencePiece model ({error})", where=path, remedy="export the run again"
        ) from None
