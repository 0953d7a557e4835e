"""Merging: what the merged model says, what is left alone, and what is refused."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from lilift.export import hugging_face, safetensors_rows
from lilift.export.hugging_face import HuggingFaceFolder
from lilift.export.merge import MergedWeights, read_layers
from lilift.export.nf4 import through_nf4
from lilift.model.four_bit_loading import keep_autograd_on_cpu, quantization
from lilift.recipe import sealed_folders
from lilift.recipe.errors import LiliftError, ModelError
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
) -> MergedWeights:
    """Merge, and write a Hugging Face folder as an export does."""
    weights = MergedWeights(base, adapter, quantized=quantized, merge_base=merge_base, compute_dtype="float32")
    with sealed_folders.sealed_folder(output) as folder, ExitStack() as stack:
        files = HuggingFaceFolder(folder, base, weights.shapes, "float32").open(stack)
        for name in weights.shapes:
            for rows in weights.chunks(name):
                files.write(name, rows)
    return weights


def test_the_merged_model_answers_like_the_4_bit_model_with_its_adapter(base: Path, tmp_path: Path) -> None:
    live = adapted(base, tmp_path / "adapter", four_bit=True)
    report = merged(base, tmp_path / "adapter", tmp_path / "merged")
    torch.testing.assert_close(logits(loaded(tmp_path / "merged", four_bit=False)), logits(live), atol=2e-5, rtol=0)
    assert len(report.updates) == len(report.round_trip) == 14


def test_merged_into_the_original_weights_it_answers_like_the_full_precision_model(base: Path, tmp_path: Path) -> None:
    live = adapted(base, tmp_path / "adapter", four_bit=False)
    report = merged(base, tmp_path / "adapter", tmp_path / "merged", merge_base="original")
    torch.testing.assert_close(logits(loaded(tmp_path / "merged", four_bit=False)), logits(live), atol=2e-5, rtol=0)
    assert not report.round_trip


def test_only_what_was_4_bit_in_training_goes_through_4_bits(base: Path, tmp_path: Path) -> None:
    adapted(base, tmp_path / "adapter", four_bit=True)
    merged(base, tmp_path / "adapter", tmp_path / "merged")
    before, after = load_file(base / "model.safetensors"), load_file(tmp_path / "merged" / "model.safetensors")
    assert before.keys() == after.keys()
    unchanged = {name for name in before if torch.equal(before[name], after[name])}
    assert {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"} <= unchanged
    assert not unchanged & read_layers(base).linear


def test_the_layers_taken_for_4_bit_are_those_that_bitsandbytes_quantises(base: Path) -> None:
    model = loaded(base, four_bit=True)
    live = {name + ".weight" for name, module in model.named_modules() if type(module).__name__ == "Linear4bit"}
    assert read_layers(base).linear == live


def test_one_trip_through_nf4_gives_the_weights_that_training_sees_however_it_is_cut(base: Path) -> None:
    import bitsandbytes.functional

    layer = loaded(base, four_bit=True).model.layers[0].mlp.up_proj
    live = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    original = load_file(base / "model.safetensors")["model.layers.0.mlp.up_proj.weight"]
    for rows in (128, 48, 1):
        assert torch.equal(torch.cat(list(through_nf4(original.split(rows)))), live)


def test_rows_that_end_within_a_block_are_not_cut_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of 40 elements: a block of 64 ends with a row only every eighth row."""
    import bitsandbytes.functional

    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=96, hidden_size=40, intermediate_size=80, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
    adapted(tmp_path / "base", tmp_path / "adapter", four_bit=True)
    monkeypatch.setattr(safetensors_rows, "CHUNK_ELEMENTS", 400)
    found = MergedWeights(
        tmp_path / "base", tmp_path / "adapter", quantized=True, merge_base="dequantised", compute_dtype="float32"
    )
    found.updates.clear()
    name = "model.layers.0.mlp.up_proj.weight"
    original = load_file(tmp_path / "base" / "model.safetensors")[name]
    whole = bitsandbytes.functional.quantize_4bit(original, quant_type="nf4", compress_statistics=True)
    chunks = list(found.chunks(name))
    assert len(chunks) > 5
    assert torch.equal(
        torch.cat([torch.from_numpy(chunk) for chunk in chunks]), bitsandbytes.functional.dequantize_4bit(*whole)
    )


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
    monkeypatch.setattr(hugging_face, "SHARD_BYTES", 40_000)
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


def test_an_adapter_of_another_width_is_refused(base: Path, tmp_path: Path) -> None:
    adapted(base, tmp_path / "adapter", four_bit=True)
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    found = load_file(path)
    name = next(name for name in found if name.endswith("layers.1.mlp.up_proj.lora_A.weight"))
    save_file(found | {name: found[name][:, :-1].contiguous()}, path)
    assert "layers.1.mlp.up_proj" in refusal(base, tmp_path / "adapter", tmp_path / "merged")


def test_weights_that_come_twice_are_read_once(base: Path, tmp_path: Path) -> None:
    """Mistral's repositories hold the same weights under the authors' own names too."""
    import shutil

    adapted(base, tmp_path / "adapter", four_bit=True)
    twice = tmp_path / "twice"
    shutil.copytree(base, twice)
    save_file({"layers.0.attention.wq.weight": torch.ones(2, 2)}, twice / "consolidated.safetensors")
    assert "layers.0.attention.wq.weight" not in merged(twice, tmp_path / "adapter", tmp_path / "merged").shapes


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bit_weights_are_rounded_as_torch_rounds_them(base: Path, tmp_path: Path, dtype: str) -> None:
    adapted(base, tmp_path / "adapter", four_bit=True)
    exact = merged(base, tmp_path / "adapter", tmp_path / "exact")
    (tmp_path / "rounded").mkdir()
    with ExitStack() as stack:
        files = HuggingFaceFolder(tmp_path / "rounded", base, exact.shapes, dtype).open(stack)
        for name in exact.shapes:
            for rows in exact.chunks(name):
                files.write(name, rows)
    found, expected = (load_file(tmp_path / folder / "model.safetensors") for folder in ("rounded", "exact"))
    for name, weight in expected.items():
        assert torch.equal(found[name], weight.to(getattr(torch, dtype))), name


def test_the_result_is_sealed(base: Path, tmp_path: Path) -> None:
    from lilift.recipe.sealed_folders import verify_sealed_folder

    adapted(base, tmp_path / "adapter", four_bit=True)
    merged(base, tmp_path / "adapter", tmp_path / "merged")
    assert verify_sealed_folder(tmp_path / "merged") == {}
    with safe_open(tmp_path / "merged" / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
