"""Which part of a checkpoint is the text encoder, for every kind of model that transformers has."""

from __future__ import annotations

from typing import Any

from transformers import AutoModel, AutoModelForTextEncoding, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_TEXT_ENCODING_MAPPING,
)

from lilift.recipe.schema import EncoderLayers

# T5GemmaEncoderModel refuses the configuration of its own checkpoints, which are encoder-decoders.
_LOADED_WHOLE = {"t5gemma"}


def loader_of(config: PreTrainedConfig) -> Any:
    """The class of transformers that loads a checkpoint as an encoder, or as the whole model that holds one."""
    known = type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING and config.model_type not in _LOADED_WHOLE
    return AutoModelForTextEncoding if known else AutoModel


def text_encoder_in(model: PreTrainedModel) -> PreTrainedModel:
    """The text encoder alone: without the decoder of an encoder-decoder, a vision tower (T5Gemma 2), or a pooler.

    A pooler makes one vector for a text, which lilift does not read. Many checkpoints have no weights for it, and a layer
    without weights cannot run in 4 bits.
    """
    half: Any = model.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else model
    if hasattr(half, "vision_tower") and hasattr(half, "text_model"):
        half = half.text_model
    if getattr(half, "pooler", None) is not None:
        half.pooler = None
    found: PreTrainedModel = half
    return found


def reads_left_to_right(config: PreTrainedConfig) -> bool:
    """Whether a model is an LLM whose first states cannot know how a text ends, as its configuration tells.

    `lilift.model.encoders.encoder` measures the same on the loaded model. EmbeddingGemma is an LLM that reads in both
    directions.
    """
    text = config.get_text_config()
    if getattr(config, "is_encoder_decoder", False) or getattr(text, "use_bidirectional_attention", False):
        return False
    encoders = (MODEL_FOR_TEXT_ENCODING_MAPPING, MODEL_FOR_MASKED_LM_MAPPING)
    return type(text) in MODEL_FOR_CAUSAL_LM_MAPPING and not any(type(text) in known for known in encoders)


def mixed_layers(config: PreTrainedConfig, layers: EncoderLayers) -> int | None:
    """How many states of each token the alignment layer mixes: one for each layer of the encoder and its token embeddings.

    Args:
        config: of the encoder, or of an encoder-decoder.
        layers: the setting `alignment.layers`.

    Returns:
        The number; None if the alignment layer reads the last states alone.
    """
    if layers == "last":
        return None
    text = config.get_text_config()
    # An encoder-decoder counts the layers of its encoder under a name of its own.
    names = ("encoder_layers", "num_layers", "num_hidden_layers")
    return 1 + next(int(found) for name in names if (found := getattr(text, name, None)) is not None)
