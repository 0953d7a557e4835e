"""Tensors of every kind come through a merge as they are: scalars, masks, positions; codes of quantised weights are refused."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from lilift.export.hugging_face import HuggingFaceFolder
from lilift.export.merge import MergedWeights
from lilift.export.safetensors_rows import SafetensorsFolder, row_chunks
from lilift.recipe.errors import ModelError

IDS = torch.arange(12).view(2, 6)


def apertus(folder: Path) -> None:
    """Its activation has four numbers, each a tensor without dimensions."""
    config = transformers.ApertusConfig(
        vocab_size=64, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1
    )
    torch.manual_seed(0)
    model = transformers.ApertusForCausalLM(config)
    for name, parameter in model.named_parameters():
        if "alpha" in name:
            torch.nn.init.normal_(parameter)
    model.save_pretrained(folder)


def adapted(base: Path, adapter: Path) -> Any:
    model = get_peft_model(
        transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj", "up_proj"]),
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(adapter)
    return model.eval()


def write(base: Path, adapter: Path, output: Path, *, quantized: bool = False, dtype: Any = "float32") -> MergedWeights:
    weights = MergedWeights(base, adapter, quantized=quantized, merge_base="dequantised", compute_dtype="float32")
    output.mkdir()
    with ExitStack() as stack:
        files = HuggingFaceFolder(output, base, weights.shapes, dtype, weights.whole_numbers).open(stack)
        for name in weights.shapes:
            for rows in weights.chunks(name):
                files.write(name, rows)
    assert (output / "model.safetensors").stat().st_size > files.nbytes
    return weights


def test_scalars_stay_scalars(tmp_path: Path) -> None:
    apertus(tmp_path / "base")
    live = adapted(tmp_path / "base", tmp_path / "adapter")
    write(tmp_path / "base", tmp_path / "adapter", tmp_path / "merged")
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("base", "merged"))
    assert {name: tensor.shape for name, tensor in before.items()} == {name: tensor.shape for name, tensor in after.items()}
    assert sum(not tensor.ndim for tensor in after.values()) >= 4
    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    with torch.no_grad():
        torch.testing.assert_close(merged(IDS).logits, live(IDS).logits, atol=2e-5, rtol=0)
    write(tmp_path / "base", tmp_path / "adapter", tmp_path / "from 4 bits", quantized=True, dtype="bfloat16")
    transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "from 4 bits")


def test_masks_and_positions_come_through_to_the_bit(tmp_path: Path) -> None:
    apertus(tmp_path / "base")
    adapted(tmp_path / "base", tmp_path / "adapter")
    path = tmp_path / "base" / "model.safetensors"
    others = {
        "mask": torch.eye(5, dtype=torch.bool)[None, None],
        "position_ids": torch.tensor([[0, 2**53 + 1, -3]]),
        "count": torch.tensor(2**40),
        "double": torch.tensor(0.5, dtype=torch.float64),
    }
    save_file(load_file(path) | others, path)
    write(tmp_path / "base", tmp_path / "adapter", tmp_path / "merged", dtype="bfloat16")
    found = load_file(tmp_path / "merged" / "model.safetensors")
    for name in ("mask", "position_ids", "count"):
        assert torch.equal(found[name], others[name])
        assert found[name].dtype == others[name].dtype
    assert found["double"].dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.float8_e4m3fn])
def test_codes_of_quantised_weights_are_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(4, 4).to(dtype)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="already quantised"):
        SafetensorsFolder(tmp_path)


def test_a_scalar_is_one_row_and_an_empty_tensor_none(tmp_path: Path) -> None:
    save_file({"scalar": torch.tensor(3.0), "empty": torch.zeros(0, 4)}, tmp_path / "model.safetensors")
    folder = SafetensorsFolder(tmp_path)
    assert folder.shape("scalar") == ()
    assert [folder.rows("scalar", start, stop).tolist() for start, stop in row_chunks(())] == [[3.0]]
    assert list(row_chunks(folder.shape("empty"))) == []
