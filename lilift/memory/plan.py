"""How much memory each phase of a recipe will take, before anything is downloaded.

The two models are built on torch's meta device from their `config.json` alone, so every parameter is counted exactly as it
will be loaded; what comes and goes while training (activations, logits, caches) is arithmetic over the widths of the layers.
The basis of each figure is said in the plan, and a run writes what it measured beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig

from lilift.memory.card import GIB, MIB, memory_limit_bytes
from lilift.memory.configurations import empty_encoder, empty_llm, load_config
from lilift.model.alignment import build_alignment
from lilift.recipe.errors import RecipeError
from lilift.recipe.schema import Recipe, StageSettings

# Bytes a parameter of NF4 takes with double quantisation: 4 bits, and per 64 weights an 8-bit scale with its own scales.
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
# What a process has resident before it loads a model: Python, torch, transformers, bitsandbytes (measured, Linux x86-64).
CPU_PROCESS_BYTES = 620 * MIB
# A CUDA context with lazy loading, and a desktop on the same card. Estimates; a run measures the real ones.
CUDA_CONTEXT_BYTES = int(0.3 * GIB)
DESKTOP_BYTES = int(0.7 * GIB)
# Reserved over allocated memory: torch's CUDA allocator with expandable segments; the C library's with its arenas.
ALLOCATOR_OVERHEAD = 1.05
OPTIMIZER_BYTES = {"adamw": 8.0, "adamw_8bit": 2.04, "paged_adamw_8bit": 2.04}
# linear_cross_entropy holds this many rows' logits at once, in fp32, with as much again for their gradient.
LOGIT_ROWS = 1024
CATEGORIES = (
    "process",
    "llm",
    "encoder",
    "alignment",
    "adapter",
    "gradients",
    "optimizer",
    "activations",
    "logits",
    "kv_cache",
    "overhead",
)


@dataclass(frozen=True)
class PhasePlan:
    """Predicted peak of one phase, in bytes by category."""

    phase: str
    parts: dict[str, int]

    @property
    def peak_bytes(self) -> int:
        return sum(self.parts.values())


@dataclass(frozen=True)
class Plan:
    """Predicted memory of every phase against what the card has.

    Attributes:
        recipe: the recipe's name.
        card: the card it is planned for.
        limit_bytes: what that card has.
        phases: one plan per phase that holds a model.
        trained: number of trained parameters in each stage.
        download_bytes: size of the two models' 16-bit weights, where they are on the hub.
    """

    recipe: str
    card: str
    limit_bytes: int
    phases: tuple[PhasePlan, ...]
    trained: dict[str, int]
    download_bytes: int

    @property
    def peak_bytes(self) -> int:
        return max(phase.peak_bytes for phase in self.phases)

    def of(self, phase: str) -> PhasePlan:
        return next(plan for plan in self.phases if plan.phase == phase)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, MiB, for `plan.json` and ``--json``."""
        return {
            "recipe": self.recipe,
            "card": self.card,
            "limit_mib": round(self.limit_bytes / MIB, 1),
            "trained_parameters": self.trained,
            "download_mib": round(self.download_bytes / MIB, 1),
            "phases": {
                phase.phase: {
                    "peak_mib": round(phase.peak_bytes / MIB, 1),
                    "parts_mib": {name: round(size / MIB, 1) for name, size in phase.parts.items() if size},
                }
                for phase in self.phases
            },
            "basis": "parameters counted from the configurations; activations, logits and caches by arithmetic, not measured",
        }


@dataclass(frozen=True)
class _Sizes:
    """What the arithmetic needs to know of the models. All in numbers of parameters or elements."""

    quantised: int  # parameters that NF4 holds
    unquantised: int
    largest_linear: int  # its dequantised copy exists for a moment
    encoder: int
    alignment: int
    adapter: int
    layers: int
    saved_per_token: int  # elements kept per token and layer for the backward pass
    hidden: int
    vocabulary: int
    kv_per_token: int  # elements of the key-value cache, all layers


def make_plan(recipe: Recipe) -> Plan:
    """Predict the peak of every phase.

    Raises:
        ModelError: a model's configuration cannot be found.
    """
    llm_config = load_config(recipe.llm.model, recipe.llm.revision, trust_remote_code=recipe.llm.trust_remote_code)
    encoder_config = load_config(recipe.encoder.model, recipe.encoder.revision)
    sizes = _measure(recipe, llm_config, encoder_config)
    phases = (
        _stage_plan(recipe, "align", recipe.align, sizes, trained=sizes.alignment, adapter=0),
        _stage_plan(recipe, "transfer", recipe.transfer, sizes, trained=sizes.adapter, adapter=sizes.adapter),
        _evaluate_plan(recipe, sizes),
        _export_plan(recipe, sizes),
    )
    on_hub = [
        sizes_of
        for model, sizes_of in ((recipe.llm.model, sizes.quantised + sizes.unquantised), (recipe.encoder.model, sizes.encoder))
        if not model.startswith(("stand-in:", "/"))
    ]
    return Plan(
        recipe=recipe.name,
        card=recipe.card,
        limit_bytes=memory_limit_bytes(recipe.card),
        phases=phases,
        trained={"align": sizes.alignment, "transfer": sizes.adapter},
        download_bytes=2 * sum(on_hub),
    )


def require_fit(plan: Plan) -> None:
    """Refuse a plan whose peak is above the card.

    Raises:
        RecipeError: naming the phase, the largest category and what to lower.
    """
    worst = max(plan.phases, key=lambda phase: phase.peak_bytes)
    if worst.peak_bytes <= plan.limit_bytes:
        return
    largest = max(worst.parts, key=lambda name: worst.parts[name])
    raise RecipeError(
        f"the plan needs {worst.peak_bytes / GIB:.1f} GiB in phase {worst.phase!r} and {plan.card} has "
        f"{plan.limit_bytes / GIB:.1f} GiB; its largest part is {largest} ({worst.parts[largest] / GIB:.1f} GiB)",
        where=plan.recipe,
        remedy=_SMALLER[largest],
    )


_SMALLER = {
    "process": "use a machine with more memory",
    "llm": "choose a smaller LLM, or llm.quantization: nf4",
    "encoder": "choose a smaller encoder, or encoder.dtype: bfloat16",
    "alignment": "lower alignment.expansion",
    "adapter": "lower transfer.lora.rank",
    "gradients": "lower transfer.lora.rank",
    "optimizer": "set the stage's optimizer to adamw_8bit",
    "activations": "lower the stage's tokens_per_micro_batch, or set llm.gradient_checkpointing: true",
    "logits": "choose an LLM with a smaller vocabulary",
    "kv_cache": "lower evaluate.tokens_per_batch",
    "overhead": "lower the stage's tokens_per_micro_batch",
}


def _measure(recipe: Recipe, llm_config: PreTrainedConfig, encoder_config: PreTrainedConfig) -> _Sizes:
    llm, encoder = empty_llm(llm_config), empty_encoder(encoder_config)
    hidden = llm.get_input_embeddings().weight.shape[1]
    encoder_size = encoder.config.get_text_config().hidden_size
    with torch.device("meta"):
        alignment = build_alignment(recipe.alignment, encoder_size=encoder_size, llm_size=hidden, seed=recipe.seed)
    head = llm.get_output_embeddings()
    linears = {name: module for name, module in llm.named_modules() if isinstance(module, nn.Linear) and module is not head}
    total = sum(parameter.numel() for parameter in llm.parameters())  # tied weights are counted once
    in_linears = sum(module.weight.numel() for module in linears.values())
    quantised = in_linears if recipe.llm.quantization == "nf4" else 0
    layers = int(llm_config.num_hidden_layers)
    widths = sum(module.in_features + module.out_features for module in linears.values()) // layers
    return _Sizes(
        quantised=quantised,
        unquantised=total - quantised,
        largest_linear=max(module.weight.numel() for module in linears.values()),
        encoder=sum(parameter.numel() for parameter in encoder.parameters()),
        alignment=sum(parameter.numel() for parameter in alignment.parameters()),
        adapter=_adapter_parameters(recipe, linears),
        layers=layers,
        # Each linear keeps its input, and what follows it keeps its output; norms and residuals keep four more rows in fp32.
        saved_per_token=widths + 8 * hidden,
        hidden=hidden,
        vocabulary=int(llm_config.vocab_size),
        kv_per_token=_kv_elements_per_token(llm_config, layers),
    )


def _adapter_parameters(recipe: Recipe, linears: dict[str, nn.Linear]) -> int:
    targets = recipe.transfer.lora.target_modules
    names = (targets,) if isinstance(targets, str) else targets
    chosen = [
        module for name, module in linears.items() if names == ("all-linear",) or name.rsplit(".", 1)[-1] in names
    ]  # fmt: skip
    return sum(recipe.transfer.lora.rank * (module.in_features + module.out_features) for module in chosen)


def _kv_elements_per_token(config: PreTrainedConfig, layers: int) -> int:
    heads = int(config.num_attention_heads)
    kv_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    head_size = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    return 2 * layers * kv_heads * head_size


def _resident(recipe: Recipe, sizes: _Sizes) -> dict[str, int]:
    """What is there in every phase: the process, the LLM, the encoder, the alignment layer."""
    width = _bytes_of(recipe.llm.dtype)
    process = CPU_PROCESS_BYTES if recipe.card == "cpu" else CUDA_CONTEXT_BYTES + DESKTOP_BYTES
    return {
        "process": process,
        "llm": math.ceil(sizes.quantised * NF4_BYTES) + sizes.unquantised * width,
        "encoder": sizes.encoder * _bytes_of(recipe.encoder.dtype),
        "alignment": sizes.alignment * 4,
    }


def _stage_plan(recipe: Recipe, phase: str, stage: StageSettings, sizes: _Sizes, *, trained: int, adapter: int) -> PhasePlan:
    width = _bytes_of(recipe.llm.dtype)
    tokens = stage.tokens_per_micro_batch
    per_layer = tokens * sizes.saved_per_token * width
    kept = (
        sizes.layers * tokens * sizes.hidden * width + per_layer
        if recipe.llm.gradient_checkpointing
        else sizes.layers * per_layer
    )
    parts = _resident(recipe, sizes) | {
        "adapter": adapter * 4,
        "gradients": trained * 4,
        "optimizer": math.ceil(trained * OPTIMIZER_BYTES[stage.optimizer]),
        "activations": kept + 2 * tokens * sizes.hidden * width,
        "logits": min(tokens, LOGIT_ROWS) * sizes.vocabulary * 4 * 2 + sizes.largest_linear * width,
    }
    return PhasePlan(phase, _with_overhead(parts))


def _evaluate_plan(recipe: Recipe, sizes: _Sizes) -> PhasePlan:
    width = _bytes_of(recipe.llm.dtype)
    tokens = recipe.evaluate.tokens_per_batch
    parts = _resident(recipe, sizes) | {
        "adapter": sizes.adapter * 4,
        "activations": tokens * (sizes.saved_per_token + 2 * sizes.hidden) * width,
        "logits": min(tokens, LOGIT_ROWS) * sizes.vocabulary * 4 + sizes.largest_linear * width,
        "kv_cache": tokens * sizes.kv_per_token * width,
    }
    return PhasePlan("evaluate", _with_overhead(parts))


def _export_plan(recipe: Recipe, sizes: _Sizes) -> PhasePlan:
    """Merging goes tensor by tensor on the host; one shard and one fp32 copy of the largest layer are in memory."""
    everything = (sizes.quantised + sizes.unquantised) * _bytes_of(recipe.export.dtype)
    shard = min(everything, 2 * GIB)
    parts = {
        "process": CPU_PROCESS_BYTES,
        "llm": shard + sizes.largest_linear * 4 * 3,
        "adapter": sizes.adapter * 4,
    }
    return PhasePlan("export", _with_overhead(parts))


def _with_overhead(parts: dict[str, int]) -> dict[str, int]:
    of_allocator = sum(size for name, size in parts.items() if name != "process")
    return parts | {"overhead": math.ceil(of_allocator * (ALLOCATOR_OVERHEAD - 1))}


def _bytes_of(dtype: str) -> int:
    return 4 if dtype == "float32" else 2
