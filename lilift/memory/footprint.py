"""Estimates the downloads, disk space, host memory and training time of a recipe. The estimates are rough."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSeq2SeqLM, PreTrainedConfig
from transformers.pytorch_utils import Conv1D

from lilift.memory.model_configurations import empty_encoder, empty_llm, stored_bytes
from lilift.memory.planned_card import CPU_PROCESS_BYTES, GIB, MIB, PlannedCard
from lilift.memory.simulation.simulate import Models
from lilift.model.encoders.encoder_architecture import mixed_layers
from lilift.model.llms.experts import expert_parameters
from lilift.recipe.schema import Recipe, StageSettings

# TFLOP/s of a common card of each size (in GiB) for dense bf16 products with fp32 sums, from the vendor's data sheets (RTX
# 4060, 3060, 4060 Ti, 3090).
TFLOPS = {8: 30.0, 12: 25.0, 16: 44.0, 24: 71.0}
UTILISATION = 0.35  # share of it in training with small micro-batches; a guess from experience with 4-bit training
TOKENS_PER_ROW = 300  # English maths problems with their solutions
SOURCE_TOKENS = 100  # encoder tokens in the problem alone
POOL_ROWS = 4096  # rows whose texts the encoder reads ahead; see `StepPlan`
# The files of these models hold an output head, which current transformers takes from the embeddings.
STORED_WITH_HEAD = ("mt5", "umt5")
# Bytes for each weight in GGUF files. K-quants mix types: these are the sizes of llama.cpp's files of Llama-2-7B.
GGUF_BYTES: Mapping[str, float] = {
    **{"f32": 4.0, "bf16": 2.0, "f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32},
    **{"q3_k_m": 0.49, "q4_k_s": 0.57, "q4_k_m": 0.61, "q5_k_s": 0.69, "q5_k_m": 0.71, "q6_k": 0.82},
}


@dataclass(frozen=True)
class Footprint:
    """What a recipe needs besides the card's memory, in bytes and hours.

    Attributes:
        download_bytes: the two models' files on the hub.
        run_bytes: the run folder: checkpoints, encoder states and exports. Texts and answers are small in comparison.
        host_bytes: peak of the host's memory while models are loaded.
        merged_bytes: the merged weights.
        largest_weight: elements of the LLM's largest weight.
        expert_bytes: experts of the LLM that stay in full precision although the recipe asks for 4 bits.
        expert_share: their share of the LLM's weights.
        dequantised_bytes: the LLM's 4-bit weights in the precision of its computation.
        hours: training time; None if the recipe does not determine the number of tokens.
        time_basis: the assumptions behind `hours`.
    """

    download_bytes: int
    run_bytes: int
    host_bytes: int
    merged_bytes: int
    largest_weight: int
    hours: float | None
    time_basis: str
    expert_bytes: int = 0
    expert_share: float = 0.0
    dequantised_bytes: int = 0

    @property
    def disk_bytes(self) -> int:
        """Downloads and the run folder."""
        return self.download_bytes + self.run_bytes

    def as_dict(self) -> dict[str, Any]:
        """Plain values, in MiB."""
        experts = {"experts_in_full_precision_mib": round(self.expert_bytes / MIB, 1)} if self.expert_bytes else {}
        return experts | {
            "download_mib": round(self.download_bytes / MIB, 1),
            "disk_mib": round(self.disk_bytes / MIB, 1),
            "host_mib": round(self.host_bytes / MIB, 1),
            "training_hours": None if self.hours is None else round(self.hours, 1),
            "time_basis": self.time_basis,
        }


def estimate_footprint(recipe: Recipe, models: Models, card: PlannedCard, trained: dict[str, int]) -> Footprint:
    """Estimate what a recipe needs besides the card's memory.

    Args:
        recipe: the recipe.
        models: configurations of the LLM and the encoder.
        card: the card that it runs on.
        trained: number of trained parameters in each stage.
    """
    llm_config, encoder_config = models
    llm = empty_llm(llm_config)
    parameters = sum(parameter.numel() for parameter in llm.parameters())
    encoder, on_hub = 0, [(recipe.llm.model, llm_config, parameters)]
    if encoder_config is not None:
        # This needs a copy, because transformers changes the configuration of an encoder that it builds alone.
        encoder = sum(parameter.numel() for parameter in empty_encoder(copy.deepcopy(encoder_config)).parameters())
        on_hub.append((recipe.encoder.model, encoder_config, _whole(encoder_config, encoder)))
    download = sum(count * stored_bytes(config) for name, config, count in on_hub if not name.startswith(("stand-in:", "/")))
    stages = {name: getattr(recipe, name) for name in recipe.stages}
    checkpoints = max(
        (stage.keep_checkpoints + 1) * trained.get(name, 0) * _checkpoint_bytes(stage) for name, stage in stages.items()
    )
    merged = parameters * _bytes_of(recipe.export.dtype)
    adapters = 4 * sum(trained.values())
    cached = None if recipe.encoder.placement == "resident" else encoder_config
    hours, basis = _hours(recipe, llm, card)
    experts = sum(map(torch.numel, expert_parameters(llm).values())) if recipe.llm.quantization == "nf4" else 0
    return Footprint(
        download_bytes=download,
        run_bytes=checkpoints
        + adapters
        + encoder * _bytes_of(recipe.encoder.dtype) * (recipe.encoder.adapt is not None)
        + (_cached_on_disk(recipe, cached) if cached is not None and recipe.encoder.placement == "cached-disk" else 0)
        + _exported_bytes(recipe, parameters, encoder),
        # The encoder is loaded into host memory first. The LLM goes to the card file by file.
        host_bytes=CPU_PROCESS_BYTES
        + encoder * _bytes_of(recipe.encoder.dtype)
        + 2 * GIB * (card.kind == "cuda")
        + (0 if cached is None else _states_bytes(recipe, cached, POOL_ROWS)),
        merged_bytes=merged,
        largest_weight=max(parameter.numel() for parameter in llm.parameters()),
        hours=hours,
        time_basis=basis,
        expert_bytes=experts * _bytes_of(recipe.llm.dtype),
        expert_share=experts / parameters,
        dequantised_bytes=_dequantised_bytes(recipe, llm),
    )


def _dequantised_bytes(recipe: Recipe, llm: nn.Module) -> int:
    if recipe.llm.quantization != "nf4":
        return 0
    head = llm.get_output_embeddings()  # type: ignore[operator]  # every LLM of transformers has it
    linear = [module for module in llm.modules() if isinstance(module, nn.Linear | Conv1D) and module is not head]
    return sum(module.weight.numel() for module in linear) * _bytes_of(recipe.llm.dtype)


def _hours(recipe: Recipe, llm: nn.Module, card: PlannedCard) -> tuple[float | None, str]:
    """Time of the linear layers' products only: forward, backward to the inputs, and forward again with checkpointing."""
    if card.kind == "cpu":
        return None, "no estimate without a GPU"
    tokens = [_tokens(recipe, getattr(recipe, name)) for name in recipe.stages]
    if None in tokens:
        return None, "no estimate, because the recipe sets neither a limit of its data nor max_steps"
    size = min(TFLOPS, key=lambda gib: abs(gib - card.total_bytes / GIB))
    tflops, utilisation = card.tflops or TFLOPS[size], card.utilisation or UTILISATION
    weights = sum(module.weight.numel() for module in llm.modules() if isinstance(module, nn.Linear))
    passes = 6 if recipe.llm.gradient_checkpointing else 4
    total = sum(count for count in tokens if count is not None)
    seconds = total * weights * passes / (utilisation * tflops * 1e12)
    basis = (
        f"{total / 1e6:,.0f}M tokens ({TOKENS_PER_ROW} for each row if max_steps is not set), {passes} operations for each "
        f"weight and token, {utilisation:.0%} of {tflops:.0f} TFLOP/s; this is an estimate, not a measurement"
    )
    return seconds / 3600, basis


def _tokens(recipe: Recipe, stage: StageSettings) -> float | None:
    if stage.max_steps is not None:
        return float(stage.max_steps * stage.tokens_per_step)
    text = recipe.data.monolingual
    if recipe.uses_monolingual and text is not None and stage is recipe.align:
        return None if text.tokens is None else text.tokens * stage.epochs
    limit = recipe.data.instructions.limit
    return None if limit is None else limit * stage.epochs * TOKENS_PER_ROW


def _whole(config: PreTrainedConfig, encoder: int) -> int:
    """Parameters in the downloaded files. The files of an encoder-decoder hold both halves."""
    if not getattr(config, "is_encoder_decoder", False):
        return encoder
    with torch.device("meta"):
        model: nn.Module = AutoModelForSeq2SeqLM.from_config(config)
    head = config.vocab_size * config.get_text_config().hidden_size if config.model_type in STORED_WITH_HEAD else 0
    return head + sum(parameter.numel() for parameter in model.parameters())


def _exported_bytes(recipe: Recipe, parameters: int, encoder: int) -> int:
    settings, found = recipe.export, 0.0
    if "hf" in settings.formats:
        found += parameters * _bytes_of(settings.dtype)
    if "gguf" in settings.formats:
        types = set(settings.quantisations)
        if not types & {"f32", "bf16", "f16"} and any("_k" in name for name in types):
            types.add("f16")  # the quantiser reads this temporary file
        found += parameters * sum(GGUF_BYTES[name] for name in types)
        kept_as = settings.encoder_quantisation
        found += encoder * (_bytes_of(recipe.encoder.dtype) if kept_as is None else GGUF_BYTES[kept_as])
    return int(found)


def _cached_on_disk(recipe: Recipe, encoder: PreTrainedConfig) -> int:
    """Bytes of the encoder states of the larger stage. The states of two stages are never on the disk together."""
    stages = [getattr(recipe, name) for name in recipe.stages]
    rows = [tokens / TOKENS_PER_ROW for stage in stages if (tokens := _tokens(recipe, stage))]
    return _states_bytes(recipe, encoder, max(rows, default=POOL_ROWS))


def _states_bytes(recipe: Recipe, encoder: PreTrainedConfig, rows: float) -> int:
    width = encoder.get_text_config().hidden_size
    layers = mixed_layers(encoder, recipe.alignment.layers) or 1
    needed = int(rows * SOURCE_TOKENS * layers * width * _bytes_of(recipe.encoder.dtype))
    return min(needed, int(recipe.encoder.cache_gib * GIB))


def _checkpoint_bytes(stage: StageSettings) -> int:
    return 4 + (8 if stage.optimizer == "adamw" else 2)


def _bytes_of(dtype: str) -> int:
    itemsize: int = getattr(torch, dtype).itemsize
    return itemsize
