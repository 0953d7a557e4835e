"""A twin is small and differs from its model in size alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from lilift.model.snapshot import local_model_folder
from lilift.phases.model_check.random_twin import shrunk, twin_of_encoder, twin_of_llm
from lilift.phases.model_check.small_files import ModelFiles, model_files
from lilift.recipe.errors import ModelError

LLMS: dict[str, dict[str, Any]] = {
    "LlamaConfig": {"num_key_value_heads": 8},
    "Qwen2Config": {"num_attention_heads": 28, "num_key_value_heads": 4, "hidden_size": 3584},
    "Gemma2Config": {"query_pre_attn_scalar": 256},
    "Gemma3TextConfig": {},
    "Gemma4TextConfig": {},
    "Phi3Config": {
        "max_position_embeddings": 131072,
        "rope_parameters": {
            "rope_type": "longrope",
            "rope_theta": 1e4,
            "long_factor": [1.0] * 48,
            "short_factor": [1.0] * 48,
            "original_max_position_embeddings": 4096,
        },
    },
    "SmolLM3Config": {},
    "Olmo3Config": {},
    "GptOssConfig": {},
    "Qwen3MoeConfig": {},
}
ENCODERS = {
    "MT5Config": "MT5EncoderModel",
    "M2M100Config": "M2M100ForConditionalGeneration",
    "XLMRobertaConfig": "XLMRobertaModel",
    "ModernBertConfig": "ModernBertModel",
    "T5GemmaConfig": "T5GemmaForConditionalGeneration",
}


@pytest.mark.parametrize("name", LLMS)
def test_the_twin_of_a_large_llm_is_small_and_keeps_its_proportions(name: str) -> None:
    config = getattr(transformers, name)(**LLMS[name])
    small = shrunk(config)
    assert type(small) is type(config)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(small)
    assert sum(parameter.numel() for parameter in model.parameters()) < 50e6
    assert small.vocab_size == config.vocab_size
    assert small.num_attention_heads // small.num_key_value_heads == config.num_attention_heads // config.num_key_value_heads
    assert set(getattr(small, "layer_types", None) or ()) == set(getattr(config, "layer_types", None) or ())
    if name == "Qwen2Config":  # llama.cpp expects its heads to be as wide as the hidden state together
        assert small.hidden_size % small.num_attention_heads == 0
    if name == "Gemma2Config":  # as wide as a head
        assert small.query_pre_attn_scalar == small.head_dim
    if name == "Phi3Config":
        assert len(small.rope_parameters["long_factor"]) == small.hidden_size // small.num_attention_heads // 2
        with torch.no_grad():
            AutoModelForCausalLM.from_config(small)(torch.tensor([[1, 2, 3]]))


@pytest.mark.parametrize("name", ENCODERS)
def test_the_twin_of_a_large_encoder_is_small(name: str) -> None:
    config = getattr(transformers, name)()
    with torch.device("meta"):
        model = getattr(transformers, ENCODERS[name])(shrunk(config))
    assert sum(parameter.numel() for parameter in model.parameters()) < 50e6


def test_a_small_model_is_its_own_twin(tmp_path: Path) -> None:
    for kind, twin_of in (("llm", twin_of_llm), ("encoder", twin_of_encoder)):
        files = model_files(f"stand-in:{kind}", None, what="model")
        assert files is not None
        assert twin_of(files, tmp_path / "twin") == files.folder


def hub_copy(tmp_path: Path, **settings: Any) -> ModelFiles:
    """The stand-in LLM as the hub's cache has a model without weights."""
    folder = tmp_path / "files"
    shutil.copytree(local_model_folder("stand-in:llm", None), folder)
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text()) | settings
    (folder / "config.json").write_text(json.dumps(config))
    return ModelFiles("someone/llm", "someone/llm", None, folder, None)


def test_a_twin_has_the_models_tokenizer_and_stop_tokens(tmp_path: Path) -> None:
    files = hub_copy(tmp_path)
    twin = twin_of_llm(files, tmp_path / "twin")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (twin / name).read_bytes() == (files.folder / name).read_bytes()
    config = json.loads((twin / "config.json").read_text())
    assert (config["num_hidden_layers"], config["vocab_size"], config["hidden_size"]) == (2, 1200, 64)
    assert (twin / "model.safetensors").is_file()


def test_a_model_that_cannot_be_made_small_is_told(tmp_path: Path) -> None:
    files = hub_copy(tmp_path, vocab_size=2_000_000_000)
    with pytest.raises(ModelError, match="cannot build a small model of the kind 'llama'"):
        twin_of_llm(files, tmp_path / "twin")
