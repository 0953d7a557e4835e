"""What a configuration tells of an LLM: whether it can read soft tokens, and whether lilift can generate with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lilift.memory.model_configurations import load_llm_config
from lilift.model.decoding.generation import check_keeps_keys_and_values
from lilift.model.llms.llm_architecture import check_takes_embeddings, layers_without_keys
from lilift.model.llms.output_head import check_reads_embeddings
from lilift.recipe.errors import ModelError
from lilift.recipe.schema import LLMSettings

SIZES: dict[str, Any] = {
    **{"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2},
    **{"num_key_value_heads": 1, "head_dim": 16, "layer_types": ["sliding_attention", "full_attention"]},
}


def test_an_llm_with_embeddings_in_every_layer_is_refused_before_its_weights_are_read(tmp_path: Path) -> None:
    config = transformers.Gemma4TextConfig(**SIZES, hidden_size_per_layer_input=8, vocab_size_per_layer_input=64)
    config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="gemma4_text has embeddings of each token in every layer"):
        load_llm_config(LLMSettings(model=str(tmp_path)))
    with pytest.raises(ModelError, match="reads more than its input embeddings"):
        check_reads_embeddings(transformers.Gemma4ForCausalLM(config).eval(), "tiny")
    check_takes_embeddings(transformers.Gemma4TextConfig(**SIZES, hidden_size_per_layer_input=0), "larger Gemma 4")


def test_vectors_of_no_token_are_accepted_by_ordinary_llms() -> None:
    torch.manual_seed(0)
    plain = {name: value for name, value in SIZES.items() if name != "layer_types"}
    check_reads_embeddings(transformers.LlamaForCausalLM(transformers.LlamaConfig(**plain)).eval(), "tiny")


WITHOUT_KEYS = (
    *("Qwen3_5TextConfig", "Qwen3NextConfig", "Lfm2Config", "GraniteMoeHybridConfig", "FalconH1Config", "MambaConfig"),
    *("Mamba2Config", "JambaConfig", "BambaConfig", "Zamba2Config", "RecurrentGemmaConfig", "NemotronHConfig", "RwkvConfig"),
)


@pytest.mark.parametrize("name", WITHOUT_KEYS)
def test_hybrids_are_known_from_their_configuration(name: str) -> None:
    config = getattr(transformers, name)()
    if name == "Lfm2Config":  # by default it has attention alone; its checkpoints list their convolutions
        config.layer_types = ["conv", "full_attention"]
    assert layers_without_keys(config)
    llm: Any = type("LLM", (), {"config": config})
    with pytest.raises(ModelError, match="cannot generate with"):
        check_keeps_keys_and_values(llm)


@pytest.mark.parametrize("name", ["LlamaConfig", "Gemma3TextConfig", "Qwen3MoeConfig", "GptOssConfig", "GPT2Config"])
def test_llms_with_attention_alone_can_generate(name: str) -> None:
    assert layers_without_keys(getattr(transformers, name)()) is None
