"""Encoders in checkpoints of every kind: which part is taken, in 4 bits too, and which LLMs are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from lilift.memory.model_configurations import empty_encoder
from lilift.model.encoders.encoder import Encoder, load_encoder
from lilift.model.encoders.encoder_architecture import reads_left_to_right
from lilift.recipe.errors import ModelError
from lilift.recipe.schema import EncoderSettings

SIZES: dict[str, Any] = {
    **{"vocab_size": 320, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4},
    **{"num_key_value_heads": 2, "head_dim": 16, "pad_token_id": 1, "eos_token_id": 1, "bos_token_id": 0},
}
GEMMA = SIZES | {"layer_types": ["sliding_attention", "full_attention"]}
VISION = {
    **{"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2},
    **{"image_size": 28, "patch_size": 14},
}
CONFIGS: dict[str, Callable[[], Any]] = {
    "t5gemma": lambda: transformers.T5GemmaConfig(encoder=dict(GEMMA), decoder=dict(GEMMA), vocab_size=320),
    "t5gemma 2": lambda: transformers.T5Gemma2Config(
        encoder={"text_config": dict(GEMMA), "vision_config": VISION}, decoder=dict(GEMMA), image_token_index=319
    ),
    "embeddinggemma": lambda: transformers.Gemma3TextConfig(**GEMMA, use_bidirectional_attention=True),
    "gemma 3": lambda: transformers.Gemma3TextConfig(**GEMMA),
    "llama": lambda: transformers.LlamaConfig(**SIZES),
}


def saved(name: str, folder: Path, tokenizer: Path) -> Path:
    shutil.copytree(tokenizer, folder, ignore=shutil.ignore_patterns("*.safetensors", "*config.json"))
    shutil.copyfile(tokenizer / "tokenizer_config.json", folder / "tokenizer_config.json")
    torch.manual_seed(0)
    transformers.AutoModel.from_config(CONFIGS[name]()).save_pretrained(folder)
    content = transformers.AutoTokenizer.from_pretrained(folder)
    content.pad_token = content.eos_token
    content.save_pretrained(folder)
    return folder


def loaded(folder: Path, **settings: Any) -> Encoder:
    defaults: dict[str, Any] = {"model": str(folder), "dtype": "float32", "max_tokens": 30}
    return load_encoder(EncoderSettings(**defaults | settings), device=torch.device("cpu"))


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("name", ["t5gemma", "t5gemma 2", "embeddinggemma"])
def test_the_text_encoder_alone_is_taken(
    name: str, quantization: str, llm_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = saved(name, tmp_path / "model", llm_folder("llama"))
    encoder = loaded(folder, quantization=quantization)
    assert encoder.max_positions is None
    assert not [key for key, _ in encoder.named_parameters() if "vision" in key or "decoder" in key]
    whole = transformers.AutoModel.from_pretrained(folder).eval()
    ids = torch.tensor([encoder.tokenizer.encode("mary buys 12 apples")])
    mask = torch.ones_like(ids)
    found = encoder(ids, mask.bool())
    if quantization == "none":
        half = whole.get_encoder() if whole.config.is_encoder_decoder else whole
        with torch.no_grad():
            expected = half(input_ids=ids, attention_mask=mask).last_hidden_state
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        config = transformers.AutoConfig.from_pretrained(folder)
        planned = sum(parameter.numel() for parameter in empty_encoder(config).parameters())
        assert planned == sum(parameter.numel() for parameter in encoder.parameters())
    assert found.shape == (1, ids.shape[1], encoder.hidden_size)


@pytest.mark.parametrize("name", ["gemma 3", "llama"])
def test_llms_that_read_left_to_right_are_refused(name: str, llm_folder: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="first states do not know how the text ends"):
        loaded(saved(name, tmp_path / "model", llm_folder("llama")))


def test_a_configuration_tells_who_reads_left_to_right() -> None:
    for name, config in CONFIGS.items():
        assert reads_left_to_right(config()) == (name in ("gemma 3", "llama")), name
    for encoder in (transformers.XLMRobertaConfig(), transformers.MT5Config(), transformers.ModernBertConfig()):
        assert not reads_left_to_right(encoder)


@pytest.mark.parametrize("name", ["xlmr", "nllb", "mt5"])
def test_encoders_with_further_heads_run_in_4_bits(name: str, encoder_folder: Callable[[str], Path]) -> None:
    encoder = loaded(encoder_folder(name), quantization="nf4")
    ids = torch.tensor([encoder.tokenizer.encode("mary buys 12 apples")])
    assert encoder(ids, torch.ones_like(ids, dtype=torch.bool)).isfinite().all()


def test_a_missing_layer_is_refused_in_4_bits_too(encoder_folder: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copytree(encoder_folder("xlmr"), tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    save_file({key: value for key, value in load_file(path).items() if "layer.1" not in key}, path, metadata={"format": "pt"})
    for quantization in ("none", "nf4"):
        with pytest.raises(ModelError, match="the weights of the encoder are incomplete"):
            loaded(tmp_path / "model", quantization=quantization)
