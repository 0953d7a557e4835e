"""Adapters of every kind that peft writes: merged as peft merges them, or refused by the name of their setting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from lilift.export.adapter_updates import read_adapter
from lilift.export.drift import Candidate, computing_with
from lilift.export.merge import MergedWeights
from lilift.model.four_bit_loading import keep_autograd_on_cpu, nf4
from lilift.recipe.errors import ModelError

SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
}
ALL = ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("llama")
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its layers are stored as [in, out], and one of them is square."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("gpt2")
    config = transformers.GPT2Config(vocab_size=64, n_embd=64, n_layer=1, n_head=2, n_positions=32, initializer_range=0.2)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def adapted(base: Path, adapter: Path, *, four_bit: bool = False, **settings: Any) -> Any:
    """The base with a random adapter, which is saved and read again: peft sorts the keys of its settings when it saves."""
    torch.manual_seed(1)
    quantised = {"quantization_config": nf4("float32")} if four_bit else {}

    def load() -> Any:
        found = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, **quantised)
        keep_autograd_on_cpu(found)
        return found

    model = get_peft_model(load(), LoraConfig(**{"r": 4, "lora_alpha": 16, "target_modules": ALL, **settings}))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(adapter)
    return PeftModel.from_pretrained(load(), adapter).eval()


def merged(base: Path, adapter: Path, **settings: Any) -> MergedWeights:
    defaults = {"quantized": False, "merge_base": "original", "compute_dtype": "float32"}
    return MergedWeights(base, adapter, **{**defaults, **settings})


def assert_as_peft_merges(base: Path, adapter: Path, live: Any) -> None:
    expected = live.merge_and_unload().state_dict()
    found = merged(base, adapter)
    assert found.updates
    for name in found.shapes:
        value = torch.from_numpy(np.concatenate(list(found.chunks(name))))
        torch.testing.assert_close(value, expected[name], atol=1e-5, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


PLAIN: dict[str, dict[str, Any]] = {
    "alpha by layer": {"alpha_pattern": {"q_proj": 32, "layers.1.mlp.up_proj": 2, "o_proj": 0.5}},
    "alpha by expression": {"alpha_pattern": {r"layers\.0\..*_proj": 3, "self_attn": 99}},
    "alpha, overlapping": {"alpha_pattern": {"v_proj": 1, "self_attn.v_proj": 64, "0.self_attn.v_proj": 7}},
    "a name's end, not its middle": {"alpha_pattern": {"proj": 64, "self_attn": 64, "_proj": 64}},
    "rank by layer": {"rank_pattern": {"up_proj": 2, "layers.0.self_attn.q_proj": 8}},
    "rank, overlapping": {"rank_pattern": {"q_proj": 2, "self_attn.q_proj": 8}},
    "both": {"rank_pattern": {"q_proj": 8}, "alpha_pattern": {"q_proj": 2}},
    "square root of the rank": {"use_rslora": True, "rank_pattern": {"q_proj": 9}, "alpha_pattern": {"v_proj": 2}},
    "embeddings": {"target_modules": ["embed_tokens", "q_proj"], "alpha_pattern": {"embed_tokens": 3}},
    "head": {"target_modules": ["lm_head", "q_proj"]},
    "some layers": {"layers_to_transform": [1], "lora_dropout": 0.1, "init_lora_weights": "gaussian"},
}


@pytest.mark.parametrize("name", PLAIN)
def test_an_adapter_is_merged_as_peft_merges_it(name: str, llama: Path, tmp_path: Path) -> None:
    assert_as_peft_merges(llama, tmp_path, adapted(llama, tmp_path, **PLAIN[name]))


@pytest.mark.parametrize("targets", [["c_attn", "c_proj", "c_fc"], r".*attn\.c_proj"])
def test_layers_stored_the_other_way_round(targets: Any, gpt2: Path, tmp_path: Path) -> None:
    live = adapted(gpt2, tmp_path, target_modules=targets, fan_in_fan_out=True)
    assert_as_peft_merges(gpt2, tmp_path, live)


def test_layers_stored_the_other_way_round_go_through_4_bits_as_in_training(gpt2: Path, tmp_path: Path) -> None:
    live = adapted(gpt2, tmp_path, four_bit=True, target_modules=["c_attn", "c_proj", "c_fc"])
    found = merged(gpt2, tmp_path, quantized=True, merge_base="dequantised")
    ids = torch.arange(12).view(2, 6)
    with torch.no_grad():
        expected = live(ids).logits
        with computing_with(live.get_base_model(), Candidate.merged("merged", found, "float32")):
            torch.testing.assert_close(live(ids).logits, expected, atol=1e-4, rtol=0)
        plain = transformers.AutoModelForCausalLM.from_pretrained(gpt2).eval()
        for name in found.changed:
            plain.get_parameter(name).copy_(torch.from_numpy(np.concatenate(list(found.chunks(name)))))
        torch.testing.assert_close(plain(ids).logits, expected, atol=1e-4, rtol=0)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "DoRA": ({"use_dora": True}, "use_dora = 'True'"),
    "biases": ({"bias": "lora_only"}, "bias = 'lora_only'"),
    "other modules": ({"modules_to_save": ["lm_head"]}, r"modules_to_save = .*lm_head"),
    "tokens": ({"trainable_token_indices": [3]}, r"trainable_token_indices = .*3"),
    "a changed base": ({"init_lora_weights": "olora"}, "init_lora_weights = 'olora'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_lilift_cannot_merge_is_refused_by_name(name: str, llama: Path, tmp_path: Path) -> None:
    settings, named = REFUSED[name]
    adapted(llama, tmp_path, **settings)
    with pytest.raises(ModelError, match=f"cannot merge a LoRA adapter with {named}"):
        merged(llama, tmp_path)


def test_settings_of_later_versions_are_refused_if_they_have_a_value(llama: Path, tmp_path: Path) -> None:
    adapted(llama, tmp_path)
    path = tmp_path / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"use_later": False}))
    assert read_adapter(tmp_path).updates
    path.write_text(json.dumps(config | {"use_later": {"rate": 2}}))
    with pytest.raises(ModelError, match="use_later"):
        read_adapter(tmp_path)
    path.write_text(json.dumps(config | {"peft_type": "IA3"}))
    with pytest.raises(ModelError, match="this is IA3"):
        read_adapter(tmp_path)


def test_another_weight_in_place_of_the_base_s_is_refused(llama: Path, tmp_path: Path) -> None:
    """peft saves embeddings that it has not changed. Changed ones, as after new tokens, would be lost in silence."""
    adapted(llama, tmp_path, target_modules=["lm_head", "q_proj"])
    path = tmp_path / "adapter_model.safetensors"
    weights = load_file(path)
    [name] = [name for name in weights if "base_layer" in name]
    save_file(weights | {name: weights[name] + 1}, path)
    with pytest.raises(ModelError, match=r"its own weight 'lm_head\.weight'"):
        merged(llama, tmp_path)


def test_one_use_of_tied_embeddings_is_not_changed_alone(tmp_path: Path) -> None:
    base = tmp_path / "base"
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES | {"tie_word_embeddings": True})).save_pretrained(base)
    adapted(base, tmp_path / "adapter", target_modules=["embed_tokens"])
    with pytest.raises(ModelError, match="same weight for its input and its output"):
        merged(base, tmp_path / "adapter")
