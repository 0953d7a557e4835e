"""A bridge's trained parts in files: they come back bit for bit, and files that do not fit are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file, save_file

from lilift.data.texts.examples import Row
from lilift.model.assemble_bridge import attach_lora
from lilift.model.bridge import BridgedModel
from lilift.model.bridge_files import load_part, save_part
from lilift.recipe.errors import ModelError
from lilift.recipe.schema import LoraSettings
from tests.model.trained_bridge import train_one_step, weights_of

BridgeOf = Callable[..., BridgedModel]
RowsOf = Callable[..., list[Row]]
LORA = LoraSettings(rank=2)


def test_the_names_of_layers_are_sorted_in_the_file(bridge_of: BridgeOf, tmp_path: Path) -> None:
    """peft writes a set, in an order that differs from process to process: two equal runs then had different files."""
    bridge = bridge_of()
    attach_lora(bridge, LORA)
    config = bridge.llm.peft_config["default"]
    config.exclude_modules = {f"layer{number}" for number in range(20)}
    save_part(bridge, "adapter", tmp_path)
    written = json.loads((tmp_path / "adapter_config.json").read_text("utf-8"))
    for name in ("target_modules", "exclude_modules"):
        assert len(written[name]) > 1
        assert written[name] == sorted(written[name])
    assert LoraConfig.from_pretrained(str(tmp_path)).exclude_modules == config.exclude_modules


@pytest.mark.parametrize("kind", ["ffn", "linear", "latent"])
def test_alignment_and_adapter_come_back(kind: str, bridge_of: BridgeOf, rows_of: RowsOf, tmp_path: Path) -> None:
    def trained() -> BridgedModel:
        bridge = bridge_of(alignment={"kind": kind, "latents": 4})
        bridge.train_only("alignment")
        train_one_step(bridge, rows_of(bridge))
        attach_lora(bridge, LORA)
        bridge.train_only("adapter")
        train_one_step(bridge, rows_of(bridge))
        return bridge

    bridge = trained()
    save_part(bridge, "alignment", tmp_path)
    save_part(bridge, "adapter", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "alignment.safetensors",
        "adapter_model.safetensors",
        "adapter_config.json",
    }
    fresh = bridge_of(alignment={"kind": kind, "latents": 4}, seed=77)
    rows = rows_of(fresh)
    assert float(fresh.loss(fresh.collate(rows)).detach()) != pytest.approx(
        float(bridge.loss(bridge.collate(rows)).detach()), abs=1e-3
    )
    load_part(fresh, "alignment", tmp_path)
    load_part(fresh, "adapter", tmp_path)
    assert fresh.has_adapter
    expected = weights_of(bridge)
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(fresh).items())
    fresh.eval()
    bridge.eval()
    assert torch.equal(fresh.loss(fresh.collate(rows)), bridge.loss(bridge.collate(rows)))
    # Into a bridge that carries an adapter already; and as peft itself reads it.
    load_part(fresh, "adapter", tmp_path)
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(fresh).items())
    by_peft = PeftModel.from_pretrained(bridge_of().causal_lm, str(tmp_path))
    name = next(name for name, _ in by_peft.named_parameters() if "lora_B" in name)
    assert torch.equal(by_peft.get_parameter(name), bridge.llm.get_parameter(name))


def test_weights_that_do_not_fit_are_one_line(bridge_of: BridgeOf, tmp_path: Path) -> None:
    bridge = bridge_of()
    attach_lora(bridge, LORA)
    save_part(bridge, "alignment", tmp_path)
    save_part(bridge, "adapter", tmp_path)
    before = weights_of(bridge)

    def refused(file: str, words: str, other: Any = bridge) -> None:
        with pytest.raises(ModelError, match=words) as caught:
            load_part(other, "alignment" if file.startswith("alignment") else "adapter", tmp_path)
        assert file in caught.value.line()

    alignment, adapter = tmp_path / "alignment.safetensors", tmp_path / "adapter_model.safetensors"
    refused("alignment.safetensors", r"bos is not expected", bridge_of(alignment={"kind": "linear"}))
    refused(
        "alignment.safetensors",
        r"hidden\.weight has the shape \[48, 24\] instead of \[96, 24\]",
        bridge_of(alignment={"expansion": 4}),
    )
    refused("adapter_model.safetensors", r"has the shape", _with_lora(bridge_of(), rank=3))
    weights = load_file(alignment)
    save_file({name: value for name, value in weights.items() if name != "eos"}, alignment)
    refused("alignment.safetensors", "eos is missing")
    alignment.write_bytes(alignment.read_bytes()[:50])
    refused("alignment.safetensors", "damaged")
    alignment.unlink()
    refused("alignment.safetensors", "no such file")
    (tmp_path / "adapter_config.json").write_text("{", encoding="utf-8")
    refused("adapter_config.json", "cannot read the adapter's settings", bridge_of())
    adapter.write_bytes(b"\xff" * 20)
    refused("adapter_model.safetensors", "damaged")
    assert all(torch.equal(value, before[name]) for name, value in weights_of(bridge).items()), "nothing half loaded"


def test_the_adapters_settings_are_pefts(bridge_of: BridgeOf, tmp_path: Path) -> None:
    bridge = _with_lora(bridge_of(), rank=3, alpha=5, dropout=0.25)
    save_part(bridge, "adapter", tmp_path)
    settings = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    assert (settings["peft_type"], settings["r"], settings["lora_alpha"], settings["lora_dropout"]) == ("LORA", 3, 5, 0.25)


def _with_lora(bridge: BridgedModel, **settings: Any) -> BridgedModel:
    attach_lora(bridge, LoraSettings(**settings))
    return bridge
