"""Every family in stock llama.cpp: it loads, and says what transformers says, to the last digits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedConfig

from lilift.memory.model_configurations import load_llm_config
from lilift.model.llms.llm import load_llm
from lilift.model.snapshot import local_model_folder
from lilift.recipe.errors import ModelError
from lilift.recipe.schema import LLMSettings

SIZES = {
    "vocab_size": 1200,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 3,
    "initializer_range": 0.15,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0, "original_max_position_embeddings": 64}
GEMMA3_ROPE = {
    "full_attention": {"rope_type": "linear", "rope_theta": 1e4, "factor": 8.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}
SIX_LAYERS = {"num_hidden_layers": 6, "sliding_window": 8}
# name: configuration class, its settings, the largest difference of log-probabilities
FAMILIES: dict[str, tuple[str, dict[str, Any], float]] = {
    "llama 2": ("LlamaConfig", {}, 1e-4),
    "llama with biases": ("LlamaConfig", {"attention_bias": True, "mlp_bias": True}, 1e-4),
    "llama, tied": ("LlamaConfig", {"tie_word_embeddings": True}, 1e-4),
    "llama 3": ("LlamaConfig", {"rope_parameters": LLAMA3_ROPE}, 1e-4),
    "llama, stretched": ("LlamaConfig", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}}, 1e-4),
    "mistral": ("MistralConfig", {"sliding_window": None}, 1e-4),
    "qwen 2": ("Qwen2Config", {"head_dim": 16}, 1e-4),
    "qwen 2.5, yarn": ("Qwen2Config", {"head_dim": 16, "rope_parameters": YARN}, 1e-4),
    "qwen 3": ("Qwen3Config", {}, 1e-4),
    "gemma": ("GemmaConfig", {}, 5e-3),
    "gemma 2": ("Gemma2Config", {"query_pre_attn_scalar": 32, "sliding_window": 8}, 5e-3),
    "gemma 3": ("Gemma3TextConfig", {"query_pre_attn_scalar": 32, **SIX_LAYERS}, 5e-3),
    "gemma 3, stretched": (
        "Gemma3TextConfig",
        {"query_pre_attn_scalar": 32, "rope_parameters": GEMMA3_ROPE, **SIX_LAYERS},
        5e-3,
    ),
}
NEVER = range(260)  # special tokens and bytes
PROMPT = [1, *range(300, 340)]


def saved_with_tokenizer(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    stand_in = local_model_folder("stand-in:llm", None)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(stand_in / name, folder / name)


def random_model(folder: Path, config_class: str, settings: dict[str, Any]) -> Any:
    """A small random model on disk with the stand-in's tokenizer; its norms and biases are not the trivial ones either."""
    config: PreTrainedConfig = getattr(transformers, config_class)(**SIZES | settings)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * (0.2 if "norm" in name else 0.5))
    saved_with_tokenizer(model, folder)
    return model


@pytest.mark.parametrize("name", FAMILIES)
def test_stock_llama_cpp_computes_what_transformers_does(
    name: str, tmp_path: Path, written: Callable[..., Any], stock_server: Callable[..., Any]
) -> None:
    config_class, settings, tolerance = FAMILIES[name]
    model = random_model(tmp_path / "model", config_class, settings)
    written(tmp_path / "model", tmp_path / "model.gguf")
    steps = 6
    tokens, found = stock_server(tmp_path / "model.gguf").greedy(PROMPT, steps, never=NEVER)
    with torch.no_grad():
        logits = model(torch.tensor([[*PROMPT, *tokens[:-1]]])).logits[0, len(PROMPT) - 1 :]
    expected = logits.log_softmax(-1)
    assert tokens == [len(NEVER) + index for index in expected[:, len(NEVER) :].argmax(-1).tolist()]
    for step in range(steps):
        listed = torch.tensor([found[step][index] for index in range(SIZES["vocab_size"])])
        # The server writes what is next to impossible as impossible.
        likely = expected[step] > -50
        assert (listed - expected[step])[likely].abs().max() <= tolerance


def test_the_llm_in_a_multimodal_checkpoint_is_the_same_llm(tmp_path: Path, written: Callable[..., Any]) -> None:
    """Gemma 3 from 4B: its files hold a vision tower, other names, and only what is not by default."""
    alone = random_model(tmp_path / "alone", *FAMILIES["gemma 3, stretched"][:2])
    vision = transformers.SiglipVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    config = transformers.Gemma3Config(text_config=alone.config, vision_config=vision, image_token_index=1199)
    whole = transformers.Gemma3ForConditionalGeneration(config)
    whole.model.language_model.load_state_dict(alone.model.state_dict())
    saved_with_tokenizer(whole, tmp_path / "whole")
    kept = json.loads((tmp_path / "whole" / "config.json").read_text())
    defaults = transformers.Gemma3TextConfig().to_dict()
    kept["text_config"] = {name: value for name, value in kept["text_config"].items() if defaults.get(name) != value}
    assert "rms_norm_eps" not in kept["text_config"]
    (tmp_path / "whole" / "config.json").write_text(
        json.dumps(kept | {"text_config": kept["text_config"] | {"model_type": "gemma3_text"}})
    )
    for name in ("alone", "whole"):
        written(tmp_path / name, tmp_path / f"{name}.gguf")
    assert (tmp_path / "alone.gguf").read_bytes() == (tmp_path / "whole.gguf").read_bytes()
    loaded, _ = load_llm(
        LLMSettings(model=str(tmp_path / "whole"), quantization="none", dtype="float32"), device=torch.device("cpu")
    )
    assert type(load_llm_config(LLMSettings(model=str(tmp_path / "whole")))) is type(alone.config)
    tokens = torch.tensor([PROMPT])
    assert torch.equal(loaded(tokens).logits, AutoModelForCausalLM.from_pretrained(tmp_path / "alone")(tokens).logits)


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "another architecture": ("StableLmConfig", {}, "StableLmForCausalLM"),
    "rope scaling": ("LlamaConfig", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "dynamic"),
    "activation": ("LlamaConfig", {"hidden_act": "gelu"}, "gelu"),
    "heads that are wider": ("Qwen2Config", {}, "heads of size 16, not 32"),
    "attention scale": ("Gemma2Config", {"query_pre_attn_scalar": 100}, "100"),
    "pattern of windows": (
        "Gemma3TextConfig",
        {"query_pre_attn_scalar": 32, "layer_types": ["full_attention"] * 2},
        "full attention",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_llama_cpp_would_compute_otherwise_is_refused_by_name(
    name: str, tmp_path: Path, written: Callable[..., Any]
) -> None:
    config_class, settings, named = REFUSED[name]
    random_model(tmp_path / "model", config_class, settings)
    with pytest.raises(ModelError, match=named):
        written(tmp_path / "model", tmp_path / "model.gguf")
    assert not (tmp_path / "model.gguf").exists()


def test_a_quantised_base_is_refused(tmp_path: Path, written: Callable[..., Any]) -> None:
    random_model(tmp_path / "model", "LlamaConfig", {})
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": {"quant_method": "bitsandbytes"}}))
    with pytest.raises(ModelError, match="bitsandbytes"):
        written(tmp_path / "model", tmp_path / "model.gguf")


def test_a_window_that_llama_cpp_does_not_know_bounds_the_context(tmp_path: Path, written: Callable[..., Any]) -> None:
    """Mistral 7B 0.1: within its window the window makes no difference."""
    random_model(tmp_path / "model", "MistralConfig", {"sliding_window": 48})
    assert written(tmp_path / "model", tmp_path / "model.gguf").config.context_length == 48


@pytest.mark.parametrize(("quantisation", "agreement"), [("f16", 0.01), ("bf16", 0.1), ("q8_0", 0.1), ("q4_0", 2.0)])
def test_quantised_files_stay_near(
    quantisation: str, agreement: float, tmp_path: Path, written: Callable[..., Any], stock_server: Callable[..., Any]
) -> None:
    model = random_model(tmp_path / "model", "LlamaConfig", {"initializer_range": 0.05})
    written(tmp_path / "model", tmp_path / "model.gguf", quantisation)
    _, found = stock_server(tmp_path / "model.gguf").greedy(PROMPT, 1, never=NEVER)
    with torch.no_grad():
        expected = model(torch.tensor([PROMPT])).logits[0, -1].log_softmax(-1)
    divergence = sum(float(expected[index].exp()) * (float(expected[index]) - found[0][index]) for index in found[0])
    assert 0 <= divergence + 1e-6 <= agreement
