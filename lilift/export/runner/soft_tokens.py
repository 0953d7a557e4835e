"""The alignment layer in numpy: converts encoder states to the vectors for the LLM's sequence.

It does the same computation as `lilift.model.alignment_layer`, for one text at a time, with the weights in `align.gguf`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, dequantize

from lilift.export.runner.llama_cpp import Floats
from lilift.recipe.errors import RunFolderError

ARCHITECTURE = "lilift-alignment"
KNOWN_VERSION = 2
KINDS = ("ffn", "linear", "latent")
_HEADS, _HEAD_WIDTH, _BLOCKS = 8, 64, 2
_NORM_EPSILON = 1e-5  # of layer norms
_SMALL = 1e-6
_ERFC = np.array([1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592], dtype=np.float32)


class SoftTokens:
    """A trained alignment layer.

    Args:
        path: `align.gguf`.

    Raises:
        RunFolderError: the file holds no alignment layer, an unknown kind of layer, or one that cannot compute.
    """

    def __init__(self, path: Path) -> None:
        reader = opened(path)
        try:
            self._read(reader, path)
            with np.errstate(all="ignore"):
                self._try_out(path)
        except (ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError) as error:
            reason = " ".join(str(error).split())[:120]
            raise RunFolderError(
                f"the alignment layer in this file cannot compute ({reason})", where=path, remedy="export the run again"
            ) from None

    def _read(self, reader: GGUFReader, path: Path) -> None:
        if _field(reader, "general.architecture") != ARCHITECTURE:
            raise RunFolderError("the file holds no alignment layer", where=path, remedy="export the run again")
        self.kind = str(_field(reader, f"{ARCHITECTURE}.kind"))
        version = _field(reader, f"{ARCHITECTURE}.version")
        if self.kind not in KINDS or version is None or int(version) > KNOWN_VERSION:
            raise RunFolderError("a newer lilift has written this file", where=path, remedy="update lilift")
        self.encoder_size = int(_field(reader, f"{ARCHITECTURE}.encoder_size") or 0)
        self.pool = int(_field(reader, f"{ARCHITECTURE}.pool") or 1)
        self.scales_states = bool(_field(reader, f"{ARCHITECTURE}.scale_states"))
        self.llm_size = int(_field(reader, f"{ARCHITECTURE}.llm_size") or 0)
        self.weights: dict[str, Floats] = {tensor.name: np.array(tensor.data, dtype=np.float32) for tensor in reader.tensors}
        needed = {"output.weight", "output.bias", "eos"}
        if self.kind == "ffn":
            needed |= {"hidden.weight", "hidden.bias", "bos"}
        if self.kind == "latent":
            needed |= {"queries", "norm.weight", "norm.bias"}
        missing = sorted(needed - self.weights.keys())
        if missing:
            raise RunFolderError(f"the file has no weight {missing[0]!r}", where=path, remedy="export the run again")

    def _try_out(self, path: Path) -> None:
        """Compute once, so that weights that do not fit together are found before the first question."""
        first = self.weights.get("hidden.weight" if self.kind == "ffn" else "output.weight")
        if self.kind != "latent" and first is not None and first.shape[-1] != self.encoder_size:
            raise ValueError(f"its weights read {first.shape[-1]} numbers, not {self.encoder_size}")
        found = self.frame(np.ones((1, self.encoder_size), dtype=np.float32))
        if found.shape[-1] != self.llm_size or not np.isfinite(found).all():
            raise RunFolderError("the alignment layer gives no finite vectors", where=path, remedy="export the run again")

    def frame(self, states: Floats) -> Floats:
        """The vectors [N, D] for states [S, E]: the soft tokens with the learned vectors around them."""
        if self.scales_states:
            states = states / np.sqrt(np.square(states).mean(-1, keepdims=True) + _SMALL)
        soft = self._soft(states if self.pool == 1 else window_means(states, self.pool))
        vectors = np.concatenate(
            [*([self.weights["bos"][None]] if "bos" in self.weights else []), soft, self.weights["eos"][None]]
        )
        if "size" not in self.weights:
            return vectors
        mean_square = np.square(vectors).mean(-1, keepdims=True)
        sized: Floats = vectors * (self.weights["size"].reshape(()) / np.sqrt(mean_square + _SMALL))
        return sized

    def _soft(self, states: Floats) -> Floats:
        if self.kind == "ffn":
            return self._linear("output", gelu(self._linear("hidden", states)))
        if self.kind == "linear":
            return self._linear("output", states)
        latents = self.weights["queries"]  # [L, E]
        for block in range(_BLOCKS):
            latents = self._resampled(f"blocks.{block}", latents, states)
        return self._normed("norm", self._linear("output", latents))

    def _resampled(self, block: str, latents: Floats, states: Floats) -> Floats:
        """Latents [L, E] after attention to the states and to each other, and after the feed-forward layer."""
        normed = self._normed(f"{block}.norm_latents", latents)
        seen = np.concatenate([self._normed(f"{block}.norm_states", states), normed])  # [S + L, E]
        keys, values = (_heads(part) for part in np.split(self._linear(f"{block}.key_value", seen), 2, axis=-1))
        scores = _heads(self._linear(f"{block}.query", normed)) @ keys.swapaxes(1, 2) / np.sqrt(_HEAD_WIDTH)  # [H, L, S + L]
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (shares / shares.sum(-1, keepdims=True)) @ values  # [H, L, width]
        latents = latents + self._linear(f"{block}.attended", mixed.swapaxes(0, 1).reshape(len(latents), -1))
        inner = gelu(self._linear(f"{block}.feed_forward.1", self._normed(f"{block}.feed_forward.0", latents)))
        return latents + self._linear(f"{block}.feed_forward.3", inner)

    def _linear(self, name: str, vectors: Floats) -> Floats:
        projected: Floats = vectors @ self.weights[f"{name}.weight"].T
        bias = self.weights.get(f"{name}.bias")
        return projected if bias is None else projected + bias

    def _normed(self, name: str, vectors: Floats) -> Floats:
        centred = vectors - vectors.mean(-1, keepdims=True)
        scaled = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + _NORM_EPSILON)
        normed: Floats = scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return normed


def window_means(states: Floats, pool: int) -> Floats:
    """The means [W, E] of windows of at most `pool` neighbouring states [S, E], as equal as they can be."""
    count = -(-len(states) // pool)
    owners = np.arange(len(states)) * count // len(states)  # [S]
    sums = np.add.reduceat(states, np.searchsorted(owners, np.arange(count)))
    means: Floats = (sums / np.bincount(owners)[:, None]).astype(np.float32)
    return means


class EmbeddingTable:
    """An encoder's own token embeddings, which some recipes add to its states.

    Args:
        path: the encoder's GGUF file.

    Raises:
        RunFolderError: the file has no token embeddings.
    """

    def __init__(self, path: Path) -> None:
        found = next((tensor for tensor in opened(path).tensors if tensor.name == "token_embd.weight"), None)
        if found is None:
            raise RunFolderError("the file has no token embeddings", where=path, remedy="export the run again")
        self._table, self._path = found, path

    def added_to(self, states: Floats, tokens: list[int]) -> Floats:
        """States [S, E] plus the embeddings of their tokens, each scaled to the size of its state."""
        try:
            rows = dequantize(self._table.data[np.array(tokens)], self._table.tensor_type)  # [S, E]
            if rows.shape != states.shape:
                raise ValueError(f"they have the shape {rows.shape}, not {states.shape}")
        except (ValueError, IndexError, NotImplementedError) as error:
            raise RunFolderError(
                f"the token embeddings do not fit the encoder ({error})", where=self._path, remedy="export the run again"
            ) from None
        sum_: Floats = (states + rows * (_size(states) / np.maximum(_size(rows), _SMALL))).astype(np.float32)
        return sum_


def opened(path: Path) -> GGUFReader:
    """A GGUF file, mapped into memory.

    Raises:
        RunFolderError: the file is not GGUF, or is incomplete.
    """
    try:
        return GGUFReader(path)
    except (OSError, ValueError, IndexError, KeyError, TypeError, OverflowError, AttributeError, MemoryError) as error:
        raise RunFolderError(
            f"lilift cannot read the file as GGUF ({' '.join(str(error).split())[:120]})",
            where=path,
            remedy="export the run again",
        ) from None


def gelu(values: Floats) -> Floats:
    """The exact GELU ``x * (1 + erf(x / √2)) / 2``, as ``max(x, 0) - |x| * erfc(|x| / √2) / 2``.

    numpy has no erfc. This is formula 7.1.26 of Abramowitz and Stegun; its error is at most 1.5e-7, about the precision of
    float32. The second form of GELU subtracts no numbers that are almost equal, so float32 is precise enough for it.
    """
    size = np.abs(values)
    scaled = size * np.float32(np.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * scaled)
    series = np.full_like(t, _ERFC[0])
    for factor in (*_ERFC[1:], np.float32(0)):
        series *= t
        series += factor
    np.square(scaled, out=scaled)
    np.negative(scaled, out=scaled)
    series *= np.exp(scaled, out=scaled)
    series *= size
    series *= np.float32(0.5)
    activated: Floats = np.maximum(values, 0) - series
    return activated


def _heads(vectors: Floats) -> Floats:
    """[N, heads * width] to [heads, N, width]."""
    heads: Floats = vectors.reshape(len(vectors), _HEADS, _HEAD_WIDTH).swapaxes(0, 1)
    return heads


def _size(vectors: Floats) -> Floats:
    """Root mean square of each vector: [S, E] to [S, 1]."""
    size: Floats = np.sqrt(np.square(vectors).mean(-1, keepdims=True))
    return size


def _field(reader: GGUFReader, name: str) -> Any:
    found = reader.get_field(name)
    return None if found is None else found.contents()
