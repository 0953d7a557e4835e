"""Merging: what the merged model says, what is left alone, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from lilift.export import merge as merging
from lilift.export.merge import merge, quantised_layers, through_nf4
from lilift.model.llm import keep_autograd_on_cpu, quantization
from lilift.recipe.errors import LiliftError, ModelError, StorageError
from lilift.recipe.schema import LLMSettings

IDS = torch.arange(12).view(2, 6)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random Llama on disk, with files beside its weights that only have to arrive unharmed."""
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=False,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "tokenizer.model").write_bytes(b"\x00sentencepiece\xff")
    (folder / "pytorch_model.bin").write_bytes(b"pickled: must never travel")
    return folder


def loaded(folder: Path, *, four_bit: bool) -> PreTrainedModel:
    settings = LLMSettings(model=str(folder), quantization="nf4" if four_bit else "none", dtype="float32")
    model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=quantization(settings), dtype=torch.float32)
    keep_autograd_on_cpu(model)
    return model.eval()


def adapted(base: Path, folder: Path, *, four_bit: bool) -> PeftModel:
    """The base with an adapter that changes its answers, saved to `folder`."""
    torch.manual_seed(1)
    model = get_peft_model(loaded(base, four_bit=four_bit), LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder)
    return model.eval()


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS).logits
    return found


def merged(
    base: Path, adapter: Path, output: Path, *, merge_base: str = "dequantised", quantized: bool = True
) -> merging.MergeReport:
    return merge(
        base, adapter, output, quantized=quantized, merge_base=merge_base, compute_dtype="float32", dtype="float32"
    )  # fmt: skip


def test_the_merged_model_answers_like_the_4_bit_model_with_its_adapter(base: Path, tmp_path: Path) -> None:
    live = adapted(base, tmp_path / "adapter", four_bit=True)
    report = merged(base, tmp_path / "adapter", tmp_path / "merged")
    torch.testing.assert_close(logits(loaded(tmp_path / "merged", four_bit=False)), logits(live), atol=2e-5, rtol=0)
    assert report.merged_layers == report.round_tripped_layers == 14


def test_merged_into_the_original_weights_it_answers_like_the_full_precision_model(base: Path, tmp_path: Path) -> None:
    live = adapted(base, tmp_path / "adapter", four_bit=False)
    report = merged(base, tmp_path / "adapter", tmp_path / "merged", merge_base="original")
    torch.testing.assert_close(logits(loaded(tmp_path / "merged", four_bit=False)), logits(live), atol=2e-5, rtol=0)
    assert report.round_tripped_layers == 0


def test_only_what_was_4_bit_in_training_goes_through_4_bits(base: Path, tmp_path: Path) -> None:
    adapted(base, tmp_path / "adapter", four_bit=True)
    merged(base, tmp_path / "adapter", tmp_path / "merged")
    before, after = load_file(base / "model.safetensors"), load_file(tmp_path / "merged" / "model.safetensors")
    assert before.keys() == after.keys()
    unchanged = {name for name in before if torch.equal(before[name], after[name])}
    assert {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"} <= unchanged
    assert not unchanged & quantised_layers(base)


def test_the_layers_taken_for_4_bit_are_those_that_bitsandbytes_quantises(base: Path) -> None:
    model = loaded(base, four_bit=True)
    live = {name + ".weight" for name, module in model.named_modules() if type(module).__name__ == "Linear4bit"}
    assert quantised_layers(base) == live


def test_one_trip_through_nf4_gives_the_weights_that_training_sees(base: Path) -> None:
    import bitsandbytes.functional

    layer = loaded(base, four_bit=True).model.layers[0].mlp.up_proj
    live = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    original = load_file(base / "model.safetensors")["model.layers.0.mlp.up_proj.weight"]
    assert torch.equal(through_nf4(original), live)


def test_other_files_arrive_byte_for_byte_and_pickles_do_not(base: Path, tmp_path: Path) -> None:
    adapted(base, tmp_path / "adapter", four_bit=True)
    merged(base, tmp_path / "adapter", tmp_path / "merged")
    assert (tmp_path / "merged" / "tokenizer.model").read_bytes() == b"\x00sentencepiece\xff"
    assert not (tmp_path / "merged" / "pytorch_model.bin").exists()
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["dtype"] == "float32"
    assert "quantization_config" not in config


def test_many_shards_hold_the_same_as_one(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapted(base, tmp_path / "adapter", four_bit=True)
    merged(base, tmp_path / "adapter", tmp_path / "one")
    monkeypatch.setattr(merging, "SHARD_BYTES", 40_000)
    merged(base, tmp_path / "adapter", tmp_path / "many")
    assert len(list((tmp_path / "many").glob("model-*.safetensors"))) > 3
    one = loaded(tmp_path / "one", four_bit=False)
    assert torch.equal(logits(loaded(tmp_path / "many", four_bit=False)), logits(one))
    adapted(tmp_path / "many", tmp_path / "adapter-on-shards", four_bit=True)  # and shards are read as well as written
    merged(tmp_path / "many", tmp_path / "adapter-on-shards", tmp_path / "again")


def refusal(base: Path, adapter: Path, output: Path) -> str:
    with pytest.raises(LiliftError) as caught:
        merged(base, adapter, output)
    assert not output.exists()
    assert not list(output.parent.glob(".partial-*")), "nothing half-written may stay"
    return str(caught.value)


def test_an_adapter_for_another_base_is_refused_by_name(base: Path, tmp_path: Path) -> None:
    adapted(base, tmp_path / "adapter", four_bit=True)
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    weights = {name.replace("layers.1.", "layers.9."): tensor for name, tensor in load_file(path).items()}
    save_file(weights, path)
    assert "layers.9" in refusal(base, tmp_path / "adapter", tmp_path / "merged")


def test_half_an_adapter_is_refused(base: Path, tmp_path: Path) -> None:
    adapted(base, tmp_path / "adapter", four_bit=True)
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    weights = load_file(path)
    weights.pop(next(name for name in weights if "lora_B" in name))
    save_file(weights, path)
    assert "half of the adapter" in refusal(base, tmp_path / "adapter", tmp_path / "merged")


def test_a_cut_off_weight_file_is_named(base: Path, tmp_path: Path) -> None:
    import shutil

    adapted(base, tmp_path / "adapter", four_bit=True)
    damaged = tmp_path / "damaged"
    shutil.copytree(base, damaged)
    content = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(content[: len(content) // 2])
    assert "model.safetensors" in refusal(damaged, tmp_path / "adapter", tmp_path / "merged")


def test_a_base_without_safetensors_is_refused(base: Path, tmp_path: Path) -> None:
    adapted(base, tmp_path / "adapter", four_bit=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="no safetensors"):
        merged(tmp_path / "empty", tmp_path / "adapter", tmp_path / "merged")


def test_room_is_looked_for_before_the_first_byte(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapted(base, tmp_path / "adapter", four_bit=True)
    usage = merging.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(merging.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(StorageError, match="free"):
        merged(base, tmp_path / "adapter", tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_the_result_is_sealed(base: Path, tmp_path: Path) -> None:
    from lilift.recipe.storage import verify_sealed_folder

    adapted(base, tmp_path / "adapter", four_bit=True)
    merged(base, tmp_path / "adapter", tmp_path / "merged")
    assert verify_sealed_folder(tmp_path / "merged") == {"merge_base": "dequantised"}
    with safe_open(tmp_path / "merged" / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
