"""T5 and mT5 encoders as GGUF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader
from transformers import (
    MT5Config,
    MT5EncoderModel,
    MT5ForConditionalGeneration,
    T5Config,
    T5EncoderModel,
    UMT5Config,
    UMT5EncoderModel,
    UMT5ForConditionalGeneration,
)

from lilift.export.gguf.encoder_gguf import EncoderFile
from lilift.export.gguf.sentencepiece_model import from_sentencepiece
from lilift.model.snapshot import local_model_folder
from lilift.recipe.errors import ModelError

SIZES = {
    "vocab_size": 2500,
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 96,
    "num_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}
ENCODERS = {
    "mT5": (MT5EncoderModel, MT5Config, {}),
    "mT5 with its decoder": (MT5ForConditionalGeneration, MT5Config, {}),
    "T5 1.0": (T5EncoderModel, T5Config, {"feed_forward_proj": "relu"}),
    "umT5": (UMT5EncoderModel, UMT5Config, {}),  # position biases in every layer
    "umT5 with its decoder": (UMT5ForConditionalGeneration, UMT5Config, {}),
}
TOKENS = [*range(300, 360), 1]


def saved(folder: Path, model_class: Any, config_class: Any, settings: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    model = model_class(config_class(**SIZES | settings)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "relative_attention_bias" in name:
                parameter.normal_(std=2.0)  # so that every layer's own counts
    model.save_pretrained(folder)
    return model


def file_of(folder: Path, quantisation: str = "f32") -> EncoderFile:
    vocabulary = from_sentencepiece(local_model_folder("stand-in:encoder", None) / "spiece.model", SIZES["vocab_size"])
    return EncoderFile(folder, vocabulary, quantisation)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_weight_of_the_encoder_is_there_as_it_was(name: str, tmp_path: Path) -> None:
    model = saved(tmp_path / "model", *ENCODERS[name])
    file_of(tmp_path / "model").write(tmp_path / "encoder.gguf")
    found = {tensor.name: torch.tensor(tensor.data) for tensor in GGUFReader(str(tmp_path / "encoder.gguf")).tensors}
    encoder = model.get_encoder()
    assert len(found) == len(list(encoder.parameters()))
    attention = encoder.block[1].layer[0].SelfAttention
    assert torch.equal(found["token_embd.weight"], model.shared.weight)
    assert torch.equal(found["enc.blk.1.attn_k.weight"], attention.k.weight)
    assert torch.equal(found["enc.blk.1.attn_o.weight"], attention.o.weight)
    assert torch.equal(
        found["enc.blk.0.attn_rel_b.weight"], encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
    )
    assert torch.equal(found["enc.output_norm.weight"], encoder.final_layer_norm.weight)
    assert ("enc.blk.0.ffn_gate.weight" in found) == (name != "T5 1.0")
    assert ("enc.blk.1.attn_rel_b.weight" in found) == name.startswith("umT5")


@pytest.mark.parametrize("name", ["mT5", "T5 1.0", "umT5"])
def test_llama_cpp_computes_what_transformers_does(name: str, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    from lilift.export.runner.llama_cpp import LlamaEncoder

    model = saved(tmp_path / "model", *ENCODERS[name])
    file_of(tmp_path / "model").write(tmp_path / "encoder.gguf")
    encoder = LlamaEncoder(tmp_path / "encoder.gguf", longest=96, threads=1)
    with torch.no_grad():
        expected = model(torch.tensor([TOKENS])).last_hidden_state[0]
    assert expected.std() > 0.1
    assert (torch.from_numpy(encoder.states(TOKENS)) - expected).abs().max() <= 5e-3
    encoder.close()


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"feed_forward_proj": "gated-silu"}, "gated-silu"), ({"relative_attention_max_distance": 64}, "64")],
    ids=["activation", "distance"],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(settings: dict[str, Any], named: str, tmp_path: Path) -> None:
    saved(tmp_path, MT5EncoderModel, MT5Config, settings)
    with pytest.raises(ModelError, match=named):
        file_of(tmp_path)
