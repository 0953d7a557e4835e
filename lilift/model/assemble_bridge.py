"""Load a recipe's encoder and LLM and join them in a bridge."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from lilift.model.alignment_layer import build_alignment
from lilift.model.bridge import BridgedModel
from lilift.model.encoders.encoder import load_encoder
from lilift.model.encoders.encoder_states import load_encoder_states
from lilift.model.llms import unsloth_backend
from lilift.model.llms.llm import load_llm
from lilift.model.llms.lora import add_lora
from lilift.recipe.schema import AlignmentSettings, EncoderSettings, LLMSettings, LoraSettings, Recipe

# An ordinary text, on which lilift measures how large encoder states and LLM embeddings are.
SAMPLE_TEXT = "Maria has 12 apples and buys 3 bags with 8 in each. She gives half of them to her sister. How many are left?"


def load_bridge(
    recipe: Recipe, *, device: torch.device | str, states_folder: Path | None = None, to_train: bool = False
) -> BridgedModel:
    """Load a recipe's encoder and LLM and join them by a fresh alignment layer.

    The layer's initial weights depend only on the recipe's seed and on the two models.

    Args:
        recipe: names the models and their settings.
        device: gets the models.
        states_folder: keeps encoder states if the recipe wants them on the disk; without it they stay in host memory.
        to_train: load the LLM through `llm.backend`. Otherwise transformers loads it, and only such an LLM can generate.

    Raises:
        ModelError: lilift cannot find, load or use a model.
        EnvironmentUnfit: the backend does not work here.
    """
    return join_models(
        recipe.encoder,
        recipe.llm,
        recipe.alignment,
        seed=recipe.seed,
        device=device,
        states_folder=states_folder,
        longest_trained=recipe.data.max_tokens if to_train else None,
    )


def join_models(
    encoder_settings: EncoderSettings,
    llm_settings: LLMSettings,
    alignment_settings: AlignmentSettings,
    *,
    seed: int,
    device: torch.device | str,
    states_folder: Path | None = None,
    longest_trained: int | None = None,
) -> BridgedModel:
    """Load an encoder and an LLM and join them by a fresh alignment layer; see `load_bridge`.

    Give `longest_trained`, the number of positions of the longest training row, if the bridge is to be trained.
    """
    device = torch.device(device)
    states = None
    if encoder_settings.placement == "resident":
        encoder = load_encoder(encoder_settings, device=device, layers=alignment_settings.layers)
    else:
        states = load_encoder_states(encoder_settings, device=device, folder=states_folder, layers=alignment_settings.layers)
        encoder = states.encoder
    llm, tokenizer = load_llm(llm_settings, device=device, longest_trained=longest_trained)
    llm_size = llm.get_input_embeddings().embedding_dim
    alignment = build_alignment(
        alignment_settings,
        encoder_size=encoder.hidden_size,
        llm_size=llm_size,
        seed=seed,
        mixed_layers=encoder.mixed_layers,
    )
    bridge = BridgedModel(
        encoder,
        alignment.to(device),
        llm,
        tokenizer,
        name=llm_settings.model,
        seed=seed,
        states=states,
        offloads=llm_settings.gradient_checkpointing == "offload",
    )
    _start_at_size_of_embeddings(bridge)
    return bridge


def attach_lora(bridge: BridgedModel, settings: LoraSettings) -> None:
    """Add a fresh LoRA adapter to the bridge's LLM; its initial weights depend only on the recipe's seed.

    Raises:
        RecipeError: no layer of the LLM fits `settings.target_modules`.
    """
    add = unsloth_backend.add_lora if unsloth_backend.trains(bridge.causal_lm) else add_lora
    bridge.attach_adapter(add(bridge.causal_lm, settings, seed=bridge.seed))


@torch.no_grad()
def _start_at_size_of_embeddings(bridge: BridgedModel) -> None:
    """Make soft tokens of an ordinary text as large as the LLM's own embeddings of it."""
    if not bridge.alignment.shape.reads_states:
        return
    encoder, device = bridge.encoder, bridge.device
    ids = torch.tensor([encoder.tokenizer.encode(SAMPLE_TEXT, encoder.max_positions)], device=encoder.device)  # [1, S]
    states = encoder(ids, torch.ones_like(ids, dtype=torch.bool)).to(device)  # [1, S, E]
    mask = torch.ones(ids.shape, dtype=torch.bool, device=device)
    text = torch.tensor(bridge.llm_tokenizer(SAMPLE_TEXT, add_special_tokens=False).input_ids, device=device)
    embeddings: Tensor = bridge.causal_lm.get_input_embeddings()(text)  # [N, D]
    bridge.alignment.start_at_size(states, mask, float(embeddings.float().square().mean().sqrt()))
    _start_as_first_token(bridge)


def _start_as_first_token(bridge: BridgedModel) -> None:
    """Let the alignment layer's first vector begin as the token that stands before texts, if lilift puts no such token there.

    An LLM keeps much of its attention on the first position (arXiv 2309.17453). If its tokenizer adds no BOS, as those of Qwen
    and SmolLM2, this position has the layer's first vector. A random vector there costs stage 1 many steps: the LLM cannot use
    the vectors after it (docs/log.md).
    """
    vector, table = bridge.alignment.bos, bridge.causal_lm.get_input_embeddings()
    token = bridge.llm_tokenizer.bos_token_id
    token = bridge.tokens.eos if token is None else token  # some LLMs read texts one after another, with this token between
    if vector is None or bridge.tokens.bos is not None or token >= table.num_embeddings:
        return
    embedding = table(torch.tensor([token], device=bridge.device))[0].float()  # [D]
    size = embedding.square().mean().sqrt()
    if size > 0:
        vector.copy_(embedding * (vector.square().mean().sqrt() / size))
