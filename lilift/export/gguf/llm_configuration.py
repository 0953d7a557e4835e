"""Checks that llama.cpp can run an LLM: the known families, and the settings of a model's configuration.

llama.cpp has fixed values for many settings of a model. If a configuration has another value, lilift stops with an error that
names the setting. Without the check, the file would load and the model would answer nonsense.

`lilift recipe validate` checks every recipe's LLM here, so this module imports neither numpy nor the package `gguf`, which
takes longer than the check.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.recipe.errors import ModelError

if TYPE_CHECKING:
    from lilift.export.safetensors_rows import Floats

_REMEDY = "export with --to hf"


@dataclass(frozen=True)
class Family:
    """How a family of LLMs differs from the others in GGUF.

    Attributes:
        architecture: llama.cpp's name of its graph, as GGUF files have it.
        activations: the activations of the feed-forward layers that fit llama.cpp's fixed one.
        permutes_heads: GGUF stores query and key rows in another order, for another form of rotary embedding.
        adds_one_to_norms: GGUF stores norms as the factor itself, not as the difference from 1.
        scales_input_embeddings: llama.cpp multiplies embeddings by the square root of their width, also embeddings that it gets
            in place of tokens.
    """

    architecture: str
    activations: tuple[str, ...] = ("silu",)
    permutes_heads: bool = False
    adds_one_to_norms: bool = False
    scales_input_embeddings: bool = False


_GELU = ("gelu_pytorch_tanh", "gelu")
_GEMMA: dict[str, Any] = {"activations": _GELU, "adds_one_to_norms": True}
FAMILIES: Mapping[str, Family] = {
    "LlamaForCausalLM": Family("llama", permutes_heads=True),
    "MistralForCausalLM": Family("llama", permutes_heads=True),
    "Qwen2ForCausalLM": Family("qwen2"),
    "Qwen3ForCausalLM": Family("qwen3"),
    "GemmaForCausalLM": Family("gemma", scales_input_embeddings=True, **_GEMMA),
    "Gemma2ForCausalLM": Family("gemma2", scales_input_embeddings=True, **_GEMMA),
    "Gemma3ForCausalLM": Family("gemma3", **_GEMMA),
}


class LLMConfiguration:
    """A model's configuration, after a check that llama.cpp computes the same.

    Args:
        config: the content of `config.json`.
        where: the model's folder, for errors.

    Raises:
        ModelError: lilift does not know the architecture, or llama.cpp computes something else.
    """

    def __init__(self, config: Mapping[str, Any], where: Path) -> None:
        self.content = config
        self._where = where
        architecture = next(iter(config.get("architectures") or []), config.get("model_type", "?"))
        family = FAMILIES.get(architecture)
        if family is None:
            known = ", ".join(name.removesuffix("ForCausalLM") for name in FAMILIES)
            raise ModelError(f"lilift cannot write {architecture} as GGUF (it knows {known})", where=where, remedy=_REMEDY)
        self.family = family
        self.layers: int = config["num_hidden_layers"]
        self.hidden_size: int = config["hidden_size"]
        self.heads: int = config["num_attention_heads"]
        self.key_heads: int = config.get("num_key_value_heads") or self.heads
        self.head_size: int = config.get("head_dim") or self.hidden_size // self.heads
        self.vocabulary_size: int = config["vocab_size"]
        # Gemma ties them by default, so its files do not mention it.
        self.ties_embeddings: bool = config.get("tie_word_embeddings", family.adds_one_to_norms)
        self.rope = _rope_parameters(config)
        self.rope_factors = self._rope_factors()
        self._check()

    @property
    def embedding_scale(self) -> float:
        """The factor by which llama.cpp multiplies embeddings that it gets in place of tokens."""
        return math.sqrt(self.hidden_size) if self.family.scales_input_embeddings else 1.0

    @property
    def context_length(self) -> int:
        """Positions that llama.cpp may use; at most the model's sliding window if llama.cpp's graph has no sliding window."""
        longest: int = self.content["max_position_embeddings"]
        window = self.content.get("sliding_window")
        if window and self.content.get("use_sliding_window", True) and not self.graph_has_window:
            return min(longest, int(window))
        return longest

    @property
    def graph_has_window(self) -> bool:
        """Whether llama.cpp's graph of this family has a sliding window."""
        return self.family.architecture in _SCALINGS_WITH_WINDOW

    def permutes(self, source: str) -> bool:
        """Whether GGUF stores the rows of a weight in another order than the model's files."""
        return self.family.permutes_heads and source.rpartition(".")[0].endswith((".q_proj", ".k_proj"))

    def _rope_factors(self) -> Floats | None:
        """The divisors of the rotary frequencies of Llama 3.1 and later, ``[head_size / 2]``; a tensor in GGUF."""
        if self.rope["rope_type"] != "llama3":
            return None
        import numpy as np  # few models need it

        rope = self.rope
        frequencies = rope["rope_theta"] ** -(np.arange(0, self.head_size, 2, dtype=np.float32) / self.head_size)
        wavelengths = 2 * np.pi / frequencies
        original, factor = rope["original_max_position_embeddings"], rope["factor"]
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        # Long waves are stretched by `factor`, short waves not at all, and waves in between partly.
        share = np.clip((original / wavelengths - low) / (high - low), 0, 1)
        factors: Floats = (1 / ((1 - share) / factor + share)).astype(np.float32)
        return factors

    def _check(self) -> None:
        config, family = self.content, self.family
        if config.get("quantization_config"):
            method = config["quantization_config"].get("quant_method", "?")
            raise self._refusal(f"the base model is already quantised ({method})", "train on the original 16-bit model")
        if self.rope["rope_type"] not in ("default", "linear", "llama3", "yarn"):
            raise self._refusal(f"lilift cannot write the RoPE scaling {self.rope['rope_type']!r} for llama.cpp")
        if self.rope["rope_type"] not in _SCALINGS_WITH_WINDOW.get(family.architecture, (self.rope["rope_type"],)):
            raise self._refusal(
                f"llama.cpp does not support the RoPE scaling {self.rope['rope_type']!r} for {family.architecture}"
            )
        if self.rope.get("partial_rotary_factor", 1.0) != 1.0:
            raise self._refusal("llama.cpp rotates whole heads in this family, but this model rotates only a part of each head")
        activation = config.get("hidden_activation") or config.get("hidden_act") or family.activations[0]
        if activation not in family.activations:
            raise self._refusal(
                f"llama.cpp computes this family with {family.activations[0]}, but this model uses {activation}"
            )
        for check in _FAMILY_CHECKS.get(family.architecture, ()):
            problem = check(config, self)
            if problem is not None:
                raise self._refusal(problem)

    def _refusal(self, what: str, remedy: str = _REMEDY) -> ModelError:
        return ModelError(what, where=self._where, remedy=remedy)


# Families whose graphs have a sliding window, and the RoPE scalings that they support. Gemma 3 only scales its full attention.
_SCALINGS_WITH_WINDOW = {"gemma2": ("default",), "gemma3": ("default", "linear")}
# Gemma 2 27B and Gemma 3 27B, known by their number of layers: llama.cpp scales their attention by another width.
_SCALED_BY_HIDDEN_SIZE = {"gemma2": 46, "gemma3": 62}
_LOCAL_ROPE_THETA = 10000.0


def _rope_parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the rotary embedding, from any of the forms that configurations use."""
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    found = dict(found.get("full_attention") or found)  # Gemma 3 has one for each kind of attention
    found.setdefault("rope_type", found.get("type") or "default")
    found.setdefault("rope_theta", config.get("rope_theta", 10000.0))
    found.setdefault("original_max_position_embeddings", config.get("max_position_embeddings"))
    return found


def _check_attention_scale(config: Mapping[str, Any], known: LLMConfiguration) -> str | None:
    built_in: float = known.head_size
    if known.layers == _SCALED_BY_HIDDEN_SIZE[known.family.architecture]:
        built_in = known.hidden_size / known.heads
    found = config.get("query_pre_attn_scalar", built_in)
    return None if found == built_in else f"llama.cpp scales attention by {built_in}, but this model by {found}"


def _check_layer_types(config: Mapping[str, Any], known: LLMConfiguration) -> str | None:
    period = 2 if known.family.architecture == "gemma2" else 6
    expected = ["full_attention" if (index + 1) % period == 0 else "sliding_attention" for index in range(known.layers)]
    found = config.get("layer_types") or expected
    return None if list(found) == expected else f"llama.cpp expects full attention in one of every {period} layers only"


def _check_local_rope(config: Mapping[str, Any], known: LLMConfiguration) -> str | None:  # noqa: ARG001
    by_type = config.get("rope_parameters") or {}
    local = by_type.get("sliding_attention", {}).get("rope_theta") or config.get("rope_local_base_freq", _LOCAL_ROPE_THETA)
    expected = f"{_LOCAL_ROPE_THETA:.0f}"
    return None if local == _LOCAL_ROPE_THETA else f"llama.cpp uses the local RoPE base {expected}, but this model uses {local}"


def _check_head_size(config: Mapping[str, Any], known: LLMConfiguration) -> str | None:  # noqa: ARG001
    usual = known.hidden_size // known.heads
    return None if known.head_size == usual else f"llama.cpp expects heads of size {usual}, not {known.head_size}"


def _check_no_softcap(config: Mapping[str, Any], known: LLMConfiguration) -> str | None:  # noqa: ARG001
    capped = [name for name in ("attn_logit_softcapping", "final_logit_softcapping") if config.get(name)]
    return f"llama.cpp does not support {capped[0]} in this family" if capped else None


_FAMILY_CHECKS: Mapping[str, tuple[Callable[[Mapping[str, Any], LLMConfiguration], str | None], ...]] = {
    "qwen2": (_check_head_size,),
    "gemma2": (_check_attention_scale, _check_layer_types),
    "gemma3": (_check_attention_scale, _check_layer_types, _check_local_rope, _check_no_softcap),
}
