"""What lilift can do with an architecture of LLMs, as its configuration tells before any weight is loaded."""

from __future__ import annotations

from transformers import PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from lilift.model.decoding.cached_layers import uncached_layers
from lilift.model.llms.untrainable_llms import check_no_embeddings_per_layer


def check_takes_embeddings(config: PreTrainedConfig, name: str) -> None:
    """Check that an LLM can read soft tokens; see `check_no_embeddings_per_layer`.

    Raises:
        ModelError: the LLM needs the numbers of all tokens.
    """
    text = config.get_text_config()
    settings = {"model_type": config.model_type, "hidden_size_per_layer_input": getattr(text, "hidden_size_per_layer_input", 0)}
    check_no_embeddings_per_layer(settings, name)


def layers_without_keys(config: PreTrainedConfig) -> str | None:
    """The kind of an LLM's layers that keep another state than keys and values, so that lilift cannot generate with it.

    Such layers are those of Mamba, of linear attention and of convolutions. None if there are no such layers.
    """
    text = config.get_text_config()
    kind = uncached_layers({"model_type": text.model_type, "layer_types": getattr(text, "layer_types", None)})
    if kind is not None:
        return kind
    known = type(text) in MODEL_FOR_CAUSAL_LM_MAPPING
    if known and getattr(MODEL_FOR_CAUSAL_LM_MAPPING[type(text)], "_is_stateful", False):
        return str(text.model_type)
    return None
