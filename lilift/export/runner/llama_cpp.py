"""llama.cpp's C API by way of ctypes, as far as a bridge needs it.

Why not a Python API: `xllamacpp` wraps llama.cpp's server, which takes token ids alone
(https://github.com/ggml-org/llama.cpp/issues/3811) and gives no encoder states. Its wheel holds the whole library, though, and
`llama_decode` takes vectors in place of tokens. The structures below are those of one build of llama.cpp (`include/llama.h`);
they change without notice, hence the exact pin, and the check of known defaults before anything is passed in them.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Sequence
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int8, c_int32, c_size_t, c_uint32, c_void_p
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lilift.recipe.errors import EnvironmentUnfit, ModelError

Floats = npt.NDArray[np.float32]
PACKAGE = "xllamacpp"
TESTED_VERSION = "2026.10.11549"
_F32 = 0  # ggml_type
_NO_POOLING = 0  # llama_pooling_type
_NO_FLASH_ATTENTION = 0  # llama_flash_attn_type
_LEVEL_ERROR = 4  # ggml_log_level
_LOG_CALLBACK = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)


class _ModelParameters(ctypes.Structure):
    """`llama_model_params`."""

    _fields_ = (
        ("devices", c_void_p),
        ("tensor_buft_overrides", c_void_p),
        ("n_gpu_layers", c_int32),
        ("split_mode", c_int32),
        ("load_mode", c_int32),
        ("lazy_mode", c_int32),
        ("main_gpu", c_int32),
        ("tensor_split", c_void_p),
        ("progress_callback", c_void_p),
        ("progress_callback_user_data", c_void_p),
        ("kv_overrides", c_void_p),
        ("vocab_only", c_bool),
        ("check_tensors", c_bool),
        ("use_extra_bufts", c_bool),
        ("no_host", c_bool),
        ("no_alloc", c_bool),
        ("load_mtp", c_bool),
    )


class _ContextParameters(ctypes.Structure):
    """`llama_context_params`."""

    _fields_ = (
        ("n_ctx", c_uint32),
        ("n_batch", c_uint32),
        ("n_ubatch", c_uint32),
        ("n_seq_max", c_uint32),
        ("n_rs_seq", c_uint32),
        ("n_outputs_max", c_uint32),
        ("n_outputs_max_per_seq", c_uint32),
        ("n_threads", c_int32),
        ("n_threads_batch", c_int32),
        ("ctx_type", c_int32),
        ("rope_scaling_type", c_int32),
        ("pooling_type", c_int32),
        ("attention_type", c_int32),
        ("flash_attn_type", c_int32),
        ("rope_freq_base", c_float),
        ("rope_freq_scale", c_float),
        ("yarn_ext_factor", c_float),
        ("yarn_attn_factor", c_float),
        ("yarn_beta_fast", c_float),
        ("yarn_beta_slow", c_float),
        ("yarn_orig_ctx", c_uint32),
        ("defrag_thold", c_float),
        ("cb_eval", c_void_p),
        ("cb_eval_user_data", c_void_p),
        ("type_k", c_int32),
        ("type_v", c_int32),
        ("abort_callback", c_void_p),
        ("abort_callback_data", c_void_p),
        ("reserved", c_void_p),
        ("embeddings", c_bool),
        ("offload_kqv", c_bool),
        ("no_perf", c_bool),
        ("op_offload", c_bool),
        ("swa_full", c_bool),
        ("kv_unified", c_bool),
        ("samplers", c_void_p),
        ("n_samplers", c_size_t),
        ("ctx_other", c_void_p),
    )


class _Batch(ctypes.Structure):
    """`llama_batch`: positions of one sequence here, as tokens or as vectors."""

    _fields_ = (
        ("n_tokens", c_int32),
        ("token", POINTER(c_int32)),
        ("embd", POINTER(c_float)),
        ("pos", POINTER(c_int32)),
        ("n_seq_id", POINTER(c_int32)),
        ("seq_id", POINTER(POINTER(c_int32))),
        ("logits", POINTER(c_int8)),
    )


_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "llama_backend_init": (None, ()),
    "llama_log_set": (None, (_LOG_CALLBACK, c_void_p)),
    "llama_model_default_params": (_ModelParameters, ()),
    "llama_context_default_params": (_ContextParameters, ()),
    "llama_model_load_from_file": (c_void_p, (c_char_p, _ModelParameters)),
    "llama_model_free": (None, (c_void_p,)),
    "llama_init_from_model": (c_void_p, (c_void_p, _ContextParameters)),
    "llama_free": (None, (c_void_p,)),
    "llama_model_get_vocab": (c_void_p, (c_void_p,)),
    "llama_vocab_n_tokens": (c_int32, (c_void_p,)),
    "llama_model_n_embd": (c_int32, (c_void_p,)),
    "llama_tokenize": (c_int32, (c_void_p, c_char_p, c_int32, POINTER(c_int32), c_int32, c_bool, c_bool)),
    "llama_token_to_piece": (c_int32, (c_void_p, c_int32, c_char_p, c_int32, c_int32, c_bool)),
    "llama_get_memory": (c_void_p, (c_void_p,)),
    "llama_memory_clear": (None, (c_void_p, c_bool)),
    "llama_decode": (c_int32, (c_void_p, _Batch)),
    "llama_encode": (c_int32, (c_void_p, _Batch)),
    "llama_get_logits_ith": (POINTER(c_float), (c_void_p, c_int32)),
    "llama_get_embeddings_ith": (POINTER(c_float), (c_void_p, c_int32)),
}


class _Library:
    """The shared library inside the wheel, with the types of its functions."""

    def __init__(self, path: Path) -> None:
        try:
            self._loaded = ctypes.CDLL(str(path))
            for name, (result, arguments) in _FUNCTIONS.items():
                function = getattr(self._loaded, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError) as error:
            raise _unfit(f"llama.cpp cannot be loaded ({error})") from None
        self.last_error = ""
        self._log = _LOG_CALLBACK(self._note)  # must outlive the library, which keeps its address
        self.call("llama_log_set", self._log, None)
        self.call("llama_backend_init")
        self._check_structures()

    def call(self, name: str, *arguments: Any) -> Any:
        return getattr(self._loaded, name)(*arguments)

    def _note(self, level: int, text: bytes, _: object) -> None:
        if level == _LEVEL_ERROR:
            self.last_error = text.decode("utf-8", errors="replace").strip()

    def _check_structures(self) -> None:
        context = self.call("llama_context_default_params")
        found = (context.n_ctx, context.n_batch, context.n_ubatch, context.n_seq_max, context.type_k, context.type_v)
        model = self.call("llama_model_default_params")
        if found != (512, 2048, 512, 1, 1, 1) or model.vocab_only or context.embeddings or not context.offload_kqv:
            raise _unfit(f"this build of {PACKAGE} has another C interface")


def _unfit(what: str) -> EnvironmentUnfit:
    return EnvironmentUnfit(what, remedy=f"run `pip install 'lilift[gguf]'`, which brings {PACKAGE} {TESTED_VERSION}")


@cache
def _library() -> _Library:
    """Load llama.cpp, once a process.

    Raises:
        EnvironmentUnfit: it is not installed, or in another version.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise _unfit(f"running an export needs the package {PACKAGE}, which is not installed")
    version = metadata.version(PACKAGE)
    if version != TESTED_VERSION:
        raise _unfit(f"{PACKAGE} {version} is installed, and its C interface is known for another version only")
    folder = Path(found.origin).parent
    library = next((path for path in sorted(folder.iterdir()) if path.name.startswith(PACKAGE + ".")), None)
    if library is None:
        raise _unfit(f"the package {PACKAGE} is incomplete")
    return _Library(library)


class LlamaModel:
    """A GGUF file, loaded by llama.cpp.

    Args:
        path: the file.
        threads: cores to compute on.

    Raises:
        EnvironmentUnfit: llama.cpp is not installed, or in another version.
        ModelError: it refuses the file.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        self.path, self.threads = path, threads
        self._library = _library()
        self._library.last_error = ""
        parameters = self._library.call("llama_model_default_params")
        self._model = self._library.call("llama_model_load_from_file", str(path).encode(), parameters)
        if not self._model:
            raise ModelError(f"llama.cpp refuses the file ({self._library.last_error or 'no reason given'})", where=path)
        self._vocabulary = self._library.call("llama_model_get_vocab", self._model)
        self.vocabulary_size: int = self._library.call("llama_vocab_n_tokens", self._vocabulary)
        self.hidden_size: int = self._library.call("llama_model_n_embd", self._model)
        self._context: int | None = None
        self._position = 0

    def tokenize(self, text: str) -> list[int]:
        """A text's tokens, without special ones around it; those that are spelled in it are read, as in training."""
        encoded = text.encode()
        room = (c_int32 * (len(encoded) + 8))()
        found = self._library.call("llama_tokenize", self._vocabulary, encoded, len(encoded), room, len(room), False, True)
        return list(room[:found])

    def piece(self, token: int) -> bytes:
        """What a token adds to a text, in UTF-8; a letter may be spread over several tokens. Nothing for special tokens."""
        size = 64
        while True:
            room = ctypes.create_string_buffer(size)
            written: int = self._library.call("llama_token_to_piece", self._vocabulary, token, room, size, 0, False)
            if written >= 0:
                return room.raw[:written]
            size = -written

    def close(self) -> None:
        """Give the memory back."""
        self._close_context()
        if self._model:
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
            raise ModelError(f"llama.cpp cannot run the model ({self._library.last_error})", where=self.path)

    def _run(self, function: str, count: int, *, tokens: Sequence[int] | None, vectors: Floats | None, every: bool) -> None:
        """Feed `count` positions of the one sequence; results are asked of every one of them, or of the last alone."""
        sequence = (c_int32 * 1)(0)
        batch = _Batch(
            n_tokens=count,
            token=None if tokens is None else (c_int32 * count)(*tokens),
            embd=None if vectors is None else vectors.ctypes.data_as(POINTER(c_float)),
            pos=(c_int32 * count)(*range(self._position, self._position + count)),
            n_seq_id=(c_int32 * count)(*[1] * count),
            seq_id=(POINTER(c_int32) * count)(*[ctypes.cast(sequence, POINTER(c_int32))] * count),
            logits=(c_int8 * count)(*([1] * count if every else [0] * (count - 1) + [1])),
        )
        failure = self._library.call(function, self._context, batch)
        if failure:
            raise ModelError(f"llama.cpp's {function} failed with {failure} ({self._library.last_error})", where=self.path)
        self._position += count


class LlamaEncoder(LlamaModel):
    """A text encoder: one state for each token.

    Args:
        path: the GGUF file.
        longest: tokens of the longest text.
        threads: cores to compute on.
    """

    def __init__(self, path: Path, *, longest: int, threads: int) -> None:
        super().__init__(path, threads=threads)
        # An encoder sees the whole text at once, so that it cannot be cut into smaller pieces (n_ubatch).
        self._open_context(longest, n_batch=longest, n_ubatch=longest, embeddings=True, pooling_type=_NO_POOLING)

    def states(self, tokens: Sequence[int]) -> Floats:
        """Tokens [S] to states [S, E]."""
        self._position = 0
        self._run("llama_encode", len(tokens), tokens=tokens, vectors=None, every=True)
        rows = [self._library.call("llama_get_embeddings_ith", self._context, index) for index in range(len(tokens))]
        return np.stack([np.ctypeslib.as_array(row, (self.hidden_size,)).copy() for row in rows])


class LlamaDecoder(LlamaModel):
    """An LLM that reads tokens and vectors, one sequence at a time.

    Args:
        path: the GGUF file.
        threads: cores to compute on.
        exact: keep keys and values in float32; llama.cpp's own float16 moves logits by about 1e-2.
    """

    def __init__(self, path: Path, *, threads: int, exact: bool) -> None:
        super().__init__(path, threads=threads)
        self._settings = {"type_k": _F32, "type_v": _F32, "flash_attn_type": _NO_FLASH_ATTENTION} if exact else {}
        self._positions = 0

    def begin(self, positions: int) -> None:
        """Forget what was read, and make room for a sequence of so many positions."""
        if positions > self._positions:
            self._positions = -(-positions // 256) * 256
            self._open_context(self._positions, n_batch=self._positions, **self._settings)
        self._library.call("llama_memory_clear", self._library.call("llama_get_memory", self._context), True)
        self._position = 0

    def read_tokens(self, tokens: Sequence[int]) -> None:
        """Put tokens after what was read."""
        if tokens:
            self._run("llama_decode", len(tokens), tokens=tokens, vectors=None, every=False)

    def read_vectors(self, vectors: Floats) -> None:
        """Put vectors [N, D] after what was read, in the places of tokens."""
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self._run("llama_decode", len(vectors), tokens=None, vectors=vectors, every=False)

    def logits(self) -> Floats:
        """What may come next: [V]."""
        found = self._library.call("llama_get_logits_ith", self._context, -1)
        logits: Floats = np.ctypeslib.as_array(found, (self.vocabulary_size,)).copy()
        return logits
