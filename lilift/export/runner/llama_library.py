"""Loads llama.cpp's C library from one of two Python packages.

lilift uses the C interface because `xllamacpp` wraps llama.cpp's server, which only takes token ids
(https://github.com/ggml-org/llama.cpp/issues/3811) and gives no encoder states. But its wheel contains the whole library, and
`llama_decode` takes vectors in place of tokens. The structures below are those of one build of llama.cpp (`include/llama.h`).
They change without notice. So lilift needs exactly this version, and checks known default values before it passes anything in
them.

`llama-cpp-python` has its own structures for the build that it contains. It compiles llama.cpp during its installation. It is
the alternative on systems and processors that have no wheel of the pinned version.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from collections.abc import Callable
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int8, c_int32, c_size_t, c_uint32, c_void_p
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

from lilift.recipe.errors import EnvironmentUnfit

PACKAGE = "xllamacpp"
TESTED_VERSION = "2026.10.11549"
OTHER_PACKAGE = "llama-cpp-python"
_OTHER_MODULE = "llama_cpp"
_LEVEL_ERROR = 4  # ggml_log_level
_LOG_CALLBACK = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)


class LlamaLibrary:
    """llama.cpp's functions, ready to call.

    Args:
        name: the package that they come from.
        functions: returns a function by its name.
        batch: the structure `llama_batch` that they take.

    Attributes:
        name, batch: as given.
        last_error: the last error message of llama.cpp.

    Raises:
        EnvironmentUnfit: the library is from another build than its structures.
    """

    def __init__(self, name: str, functions: Callable[[str], Any], batch: type[ctypes.Structure]) -> None:
        self.name, self.batch = name, batch
        self._functions = functions
        self.last_error = ""
        self._check_structures()
        self._log = _LOG_CALLBACK(self._note)  # must outlive the library, which keeps its address
        self.call("llama_log_set", self._log, None)
        self.call("llama_backend_init")

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function of llama.cpp by its name."""
        return self._functions(name)(*arguments)

    def _note(self, level: int, text: bytes, _: object) -> None:
        if level == _LEVEL_ERROR:
            self.last_error = text.decode("utf-8", errors="replace").strip()

    def _check_structures(self) -> None:
        context = self.call("llama_context_default_params")
        found = (context.n_ctx, context.n_batch, context.n_ubatch, context.n_seq_max, context.type_k, context.type_v)
        model = self.call("llama_model_default_params")
        if found != (512, 2048, 512, 1, 1, 1) or model.vocab_only or context.embeddings or not context.offload_kqv:
            raise _unfit(f"the installed {self.name} has a C interface that lilift does not know")


@cache
def llama_library() -> LlamaLibrary:
    """Load llama.cpp once in a process: from the pinned package if it is installed, otherwise from the other one.

    Raises:
        EnvironmentUnfit: neither is installed, or only the pinned one in another version.
    """
    pinned = _installed(PACKAGE)
    if pinned == TESTED_VERSION:
        return _from_pinned()
    if importlib.util.find_spec(_OTHER_MODULE) is not None:
        return _from_other()
    if pinned is None:
        raise _unfit(f"the package {PACKAGE}, which runs exports, is not installed")
    raise _unfit(f"{PACKAGE} {pinned} is installed, but lilift needs version {TESTED_VERSION}")


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _from_pinned() -> LlamaLibrary:
    """The shared library inside the wheel, with the types of its functions."""
    found = importlib.util.find_spec(PACKAGE)
    folder = Path(found.origin).parent if found is not None and found.origin is not None else None
    path = next((path for path in sorted(folder.iterdir()) if path.name.startswith(PACKAGE + ".")), None) if folder else None
    if path is None:
        raise _unfit(f"the package {PACKAGE} is incomplete")
    try:
        loaded = ctypes.CDLL(str(path))
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise _unfit(f"lilift cannot load llama.cpp ({error})") from None
    return LlamaLibrary(PACKAGE, partial(getattr, loaded), _Batch)


def _from_other() -> LlamaLibrary:
    """The library in `llama-cpp-python`, with the structures of that package."""
    try:
        module = importlib.import_module(f"{_OTHER_MODULE}.llama_cpp")
        for name in _FUNCTIONS:
            getattr(module, name)
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise _unfit(f"lilift cannot use {OTHER_PACKAGE} ({error})") from None
    return LlamaLibrary(OTHER_PACKAGE, partial(getattr, module), module.llama_batch)


def _unfit(what: str) -> EnvironmentUnfit:
    remedy = (
        f"run `pip install 'lilift[gguf]'`, which installs {PACKAGE} {TESTED_VERSION}; if your system has no such package, run "
        f"`pip install {OTHER_PACKAGE}`"
    )
    return EnvironmentUnfit(what, remedy=remedy)


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
    """`llama_batch`: positions of sequences, as tokens or as vectors."""

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
    "llama_memory_seq_rm": (c_bool, (c_void_p, c_int32, c_int32, c_int32)),
    "llama_decode": (c_int32, (c_void_p, _Batch)),
    "llama_encode": (c_int32, (c_void_p, _Batch)),
    "llama_get_logits": (POINTER(c_float), (c_void_p,)),
    "llama_get_logits_ith": (POINTER(c_float), (c_void_p, c_int32)),
    "llama_get_embeddings_ith": (POINTER(c_float), (c_void_p, c_int32)),
}
