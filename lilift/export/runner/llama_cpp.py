"""Runs an encoder and an LLM in llama.cpp: encoder states for tokens, and logits after tokens and vectors."""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Mapping, Sequence
from ctypes import POINTER, c_float, c_int8, c_int32
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lilift.export.runner.llama_library import llama_library
from lilift.recipe.errors import ModelError

Floats = npt.NDArray[np.float32]
_F32 = 0  # ggml_type
_BLOCK = 256  # llama.cpp rounds the positions of a context up to this
_SCORED_AT_ONCE = 64  # tokens whose logits are in memory together
_NO_POOLING = 0  # llama_pooling_type
_NO_FLASH_ATTENTION = 0  # llama_flash_attn_type


class LlamaModel:
    """A GGUF file, loaded by llama.cpp.

    Args:
        path: the file.
        threads: cores to compute on.

    Raises:
        EnvironmentUnfit: llama.cpp is not installed, or only another version.
        ModelError: llama.cpp cannot load the file.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        self.path, self.threads = path, threads
        self._library = llama_library()
        self._library.last_error = ""
        parameters = self._library.call("llama_model_default_params")
        self._model = self._library.call("llama_model_load_from_file", str(path).encode(), parameters)
        if not self._model:
            raise ModelError(
                f"llama.cpp cannot load the file ({self._library.last_error or 'it gives no reason'})",
                where=path,
                remedy="free some memory, or export the run again",
            )
        self._vocabulary = self._library.call("llama_model_get_vocab", self._model)
        self.vocabulary_size: int = self._library.call("llama_vocab_n_tokens", self._vocabulary)
        self.hidden_size: int = self._library.call("llama_model_n_embd", self._model)
        self._pieces: dict[int, bytes] = {}
        self._context: int | None = None
        self._owns_model = True

    def tokenize(self, text: str, *, as_text: bool = False) -> list[int]:
        """The tokens of a text, without special tokens around it.

        Args:
            text: any text.
            as_text: read control tokens that it spells out as text.
        """
        encoded = text.encode()
        room = (c_int32 * (len(encoded) + 8))()
        parse_special = not as_text
        found = self._library.call(
            "llama_tokenize", self._vocabulary, encoded, len(encoded), room, len(room), False, parse_special
        )
        return list(room[:found])

    def piece(self, token: int) -> bytes:
        """The UTF-8 bytes that a token adds to a text; a character may need several tokens. Empty for special tokens."""
        found = self._pieces.get(token)
        if found is None:
            found = self._pieces[token] = self._piece(token)
        return found

    def _piece(self, token: int) -> bytes:
        size = 64
        while True:
            room = ctypes.create_string_buffer(size)
            written: int = self._library.call("llama_token_to_piece", self._vocabulary, token, room, size, 0, False)
            if written >= 0:
                return room.raw[:written]
            size = -written

    def close(self) -> None:
        """Free the memory of the model."""
        self._close_context()
        if self._model and self._owns_model:
            self._library.call("llama_model_free", self._model)
        self._model = None

    def _close_context(self) -> None:
        if self._context:
            self._library.call("llama_free", self._context)
            self._context = None

    def _open_context(self, positions: int, **settings: int) -> None:
        parameters = self._library.call("llama_context_default_params")
        parameters.n_ctx = positions
        parameters.n_threads = parameters.n_threads_batch = self.threads
        parameters.no_perf = True
        for name, value in settings.items():
            setattr(parameters, name, value)
        self._close_context()
        self._context = self._library.call("llama_init_from_model", self._model, parameters)
        if not self._context:
            raise ModelError(
                f"llama.cpp cannot run the model ({self._library.last_error})",
                where=self.path,
                remedy="free some memory and try again",
            )

    def _run(self, function: str, batch: ctypes.Structure) -> None:
        failure = self._library.call(function, self._context, batch)
        if failure:
            raise ModelError(
                f"llama.cpp's {function} failed with {failure} ({self._library.last_error})",
                where=self.path,
                remedy="free some memory and try again",
            )

    def _batch(
        self,
        sequences: Sequence[int],
        positions: Sequence[int],
        *,
        tokens: Sequence[int] | None = None,
        vectors: Floats | None = None,
        every: bool,
    ) -> ctypes.Structure:
        """Tokens or vectors at positions of sequences; with `every`, each gives a result, otherwise only the last one."""
        count = len(sequences)
        numbers = {sequence: (c_int32 * 1)(sequence) for sequence in set(sequences)}
        pointers = {sequence: ctypes.cast(number, POINTER(c_int32)) for sequence, number in numbers.items()}
        return self._library.batch(
            n_tokens=count,
            token=None if tokens is None else (c_int32 * count)(*tokens),
            embd=None if vectors is None else vectors.ctypes.data_as(POINTER(c_float)),
            pos=(c_int32 * count)(*positions),
            n_seq_id=(c_int32 * count)(*[1] * count),
            seq_id=(POINTER(c_int32) * count)(*[pointers[sequence] for sequence in sequences]),
            logits=(c_int8 * count)(*([1] * count if every else [0] * (count - 1) + [1])),
        )


class LlamaEncoder(LlamaModel):
    """A text encoder: one state for each token.

    Args:
        path: the GGUF file.
        longest: tokens of the longest text.
        threads: cores to compute on.
    """

    def __init__(self, path: Path, *, longest: int, threads: int) -> None:
        super().__init__(path, threads=threads)
        # An encoder sees the whole text at once, so the text cannot be processed in smaller batches (n_ubatch).
        self._open_context(longest, n_batch=longest, n_ubatch=longest, embeddings=True, pooling_type=_NO_POOLING)

    def states(self, tokens: Sequence[int]) -> Floats:
        """The states [S, E] of tokens [S]."""
        count = len(tokens)
        self._run("llama_encode", self._batch([0] * count, range(count), tokens=tokens, every=True))
        rows = [self._library.call("llama_get_embeddings_ith", self._context, index) for index in range(count)]
        return np.stack([np.ctypeslib.as_array(row, (self.hidden_size,)).copy() for row in rows])


class LlamaDecoder(LlamaModel):
    """An LLM that reads tokens and vectors, in one sequence or in several side by side.

    Args:
        path: the GGUF file.
        threads: cores to compute on.
        exact: keep keys and values in float32; llama.cpp's default, float16, changes logits by about 1e-2.
    """

    def __init__(self, path: Path, *, threads: int, exact: bool) -> None:
        super().__init__(path, threads=threads)
        self._settings = {"type_k": _F32, "type_v": _F32, "flash_attn_type": _NO_FLASH_ATTENTION} if exact else {}
        self.shape = (0, 0)
        self._next = [0]  # for each sequence, its next position

    def second(self) -> LlamaDecoder:
        """A decoder with the same weights and a context of its own; close it before this one."""
        other = copy.copy(self)
        other._context, other._owns_model = None, False
        other.shape, other._next = (0, 0), [0]
        return other

    def log_probability(self, first: int, tokens: Sequence[int]) -> float:
        """The natural logarithm of the probability of tokens after the token `first`."""
        self.begin(len(tokens) + 1)
        total = 0.0
        read = [first, *tokens[:-1]]
        for start in range(0, len(tokens), _SCORED_AT_ONCE):
            some, wanted = read[start : start + _SCORED_AT_ONCE], tokens[start : start + _SCORED_AT_ONCE]
            self._decode([0] * len(some), tokens=some, every=True)
            found = self._library.call("llama_get_logits", self._context)
            logits = np.ctypeslib.as_array(found, (len(some), self.vocabulary_size)).astype(np.float64)
            logits -= logits.max(axis=-1, keepdims=True)
            total += float((logits[range(len(some)), wanted] - np.log(np.exp(logits).sum(axis=-1))).sum())
        return total

    def begin(self, positions: int) -> None:
        """Forget everything, and make room for one sequence of this many positions."""
        sequences, room = self.shape
        self.open(1, max(positions, room if sequences == 1 else 0))
        self.forget(0)

    def open(self, sequences: int, positions: int) -> None:
        """Make room for sequences of this many positions each, and forget what they hold if the room changes.

        Each sequence has keys and values of its own, so that nothing in one changes a result of another.
        """
        shape = (sequences, -(-positions // _BLOCK) * _BLOCK)
        if shape != self.shape:
            self.shape = (0, 0)
            total = shape[0] * shape[1]
            self._open_context(total, n_batch=total, n_seq_max=sequences, kv_unified=False, **self._settings)
            self.shape, self._next = shape, [0] * sequences

    def forget(self, sequence: int, *, keep: int = 0) -> None:
        """Empty one sequence, but for its first positions if it has them and the model can keep them."""
        memory = self._library.call("llama_get_memory", self._context)
        if not 0 < keep <= self._next[sequence] or not self._library.call("llama_memory_seq_rm", memory, sequence, keep, -1):
            self._library.call("llama_memory_seq_rm", memory, sequence, -1, -1)
            keep = 0
        self._next[sequence] = keep

    def length(self, sequence: int) -> int:
        """Positions that a sequence holds."""
        return self._next[sequence]

    def read_tokens(self, tokens: Sequence[int], sequence: int = 0) -> None:
        """Add tokens to a sequence."""
        if tokens:
            self._decode([sequence] * len(tokens), tokens=tokens)

    def read_vectors(self, vectors: Floats, sequence: int = 0) -> None:
        """Add vectors [N, D] to a sequence, in place of tokens."""
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self._decode([sequence] * len(vectors), vectors=vectors)

    def read_side_by_side(self, tokens: Mapping[int, int]) -> Floats:
        """Add one token to each of several sequences in one computation.

        Returns:
            The logits [B, V] of the next tokens, in the order of `tokens`. They are overwritten by the next call.
        """
        self._decode(list(tokens), tokens=list(tokens.values()), every=True)
        found = self._library.call("llama_get_logits", self._context)
        return np.ctypeslib.as_array(found, (len(tokens), self.vocabulary_size))

    def logits(self) -> Floats:
        """The logits [V] of the token after the last one that was read."""
        found = self._library.call("llama_get_logits_ith", self._context, -1)
        logits: Floats = np.ctypeslib.as_array(found, (self.vocabulary_size,)).copy()
        return logits

    def _decode(
        self,
        sequences: list[int],
        *,
        tokens: Sequence[int] | None = None,
        vectors: Floats | None = None,
        every: bool = False,
    ) -> None:
        positions = []
        for sequence in sequences:
            positions.append(self._next[sequence])
            self._next[sequence] += 1
        self._run("llama_decode", self._batch(sequences, positions, tokens=tokens, vectors=vectors, every=every))
