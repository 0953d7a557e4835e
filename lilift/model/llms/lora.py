"""LoRA adapters: the small trained matrices beside an LLM's frozen layers."""

from __future__ import annotations

import warnings

from transformers import PreTrainedModel

from lilift.model.llms.experts import layers_to_adapt, names_as_they_are
from lilift.model.llms.lean_layers.frozen_linear import bind_adapted_layers
from lilift.model.seeding import seeded
from lilift.model.training_libraries import peft
from lilift.recipe.errors import RecipeError
from lilift.recipe.schema import LoraSettings


def add_lora(llm: PreTrainedModel, settings: LoraSettings, *, seed: int) -> peft.PeftModel:
    """Add a LoRA adapter (arXiv 2106.09685) in float32, whose initial weights depend on the seed alone.

    `add_lora` changes nothing else. peft's preparation for quantised training would widen embeddings and norms to float32,
    which costs 1 to 3 GiB on models of 7 billion parameters.

    Raises:
        RecipeError: no layer of the LLM fits `target_modules`.
    """
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=layers_to_adapt(llm, settings.target_modules),
        task_type="CAUSAL_LM",
    )
    return add_adapter(llm, config, seed=seed)


def add_adapter(llm: PreTrainedModel, config: peft.LoraConfig, *, seed: int = 0) -> peft.PeftModel:
    """Add the adapter that a configuration of peft describes.

    Raises:
        RecipeError: no layer of the LLM fits its `target_modules`.
    """
    try:
        with seeded(seed), warnings.catch_warnings(), names_as_they_are():
            warnings.simplefilter("ignore", FutureWarning)  # peft calls a function that transformers wants to remove
            warnings.filterwarnings("ignore", message="fan_in_fan_out")  # peft itself sets it right, for GPT-2's layers
            adapted = peft.get_peft_model(llm, config)
    except ValueError as error:
        raise RecipeError(
            f"LoRA cannot be added to these layers ({str(error).split('.')[0]})",
            where="transfer.lora.target_modules",
            remedy="write `all-linear`, or names of the LLM's linear layers",
        ) from error
    bind_adapted_layers(adapted)
    return adapted
