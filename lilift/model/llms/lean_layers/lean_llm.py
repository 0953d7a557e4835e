"""Give a frozen LLM of transformers the lean layers of this folder, instance by instance."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from lilift.model.llms.lean_layers.elementwise_kernels import choose_kernels
from lilift.model.llms.lean_layers.gated_mlp import bind_mlps
from lilift.model.llms.lean_layers.rms_norm import bind_norms
from lilift.model.llms.lean_layers.rotary_embedding import bind_rotary_embeddings
from lilift.recipe.schema import LLMSettings


def bind_lean_layers(llm: PreTrainedModel, settings: LLMSettings, device: torch.device) -> None:
    """Let the layers of a frozen LLM keep less memory for the backward pass, and compute with the kernels of `llm.kernels`.

    Layers that lilift does not know keep the code of transformers. So does everything that computes without gradients.
    `frozen_linear` does the same for the layers of an adapter, once there is one.

    Raises:
        EnvironmentUnfit: the recipe asks for kernels that do not work here.
    """
    kernels = choose_kernels(settings.kernels, device)
    bind_norms(llm, kernels)
    bind_mlps(llm, kernels, recomputes=bool(settings.gradient_checkpointing))
    if kernels == "liger":
        bind_rotary_embeddings(llm)
