"""The plan against models that are really loaded."""

from __future__ import annotations

import bitsandbytes
import pytest
import torch
from torch import nn

from lilift.memory import card, configurations
from lilift.memory.card import GIB, device_for, memory_limit_bytes
from lilift.memory.plan import NF4_BYTES, make_plan, require_fit
from lilift.memory.probe import MemoryProbe
from lilift.model.bridge import attach_lora, load_bridge
from lilift.recipe.errors import EnvironmentUnfit, ModelError, RecipeError
from lilift.recipe.load import load_recipe


def bytes_of(module: nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())


def test_parameters_are_counted_as_they_are_loaded() -> None:
    """Weights, trained parameters and adapters of the plan are those of the live models."""
    recipe = load_recipe("tiny-cpu")
    plan = make_plan(recipe)
    bridge = load_bridge(recipe, device="cpu")
    attach_lora(bridge, recipe.transfer.lora)
    adapter = sum(p.numel() for name, p in bridge.llm.named_parameters() if "lora_" in name)
    assert plan.trained == {"align": sum(p.numel() for p in bridge.alignment.parameters()), "transfer": adapter}
    parts = plan.of("transfer").parts
    assert parts["encoder"] == bytes_of(bridge.encoder.model)
    assert parts["alignment"] == bytes_of(bridge.alignment)
    assert parts["adapter"] == parts["gradients"] == adapter * 4
    quantised = sum(m.weight.numel() * 2 for m in bridge.llm.modules() if isinstance(m, bitsandbytes.nn.Linear4bit))
    live = bytes_of(bridge.llm) - adapter * 4 + quantised * (NF4_BYTES - 0.5)  # packed bytes, and the scales beside them
    assert parts["llm"] == pytest.approx(live, rel=0.01)


def test_a_7b_recipe_is_planned_from_known_configurations_and_fits_its_card() -> None:
    """Parameters of Llama-2-7B (6.738e9) and of mT5-xl's encoder (1.67e9) are public; nothing is downloaded here."""
    plan = make_plan(load_recipe("llama-7b-24gb"))
    require_fit(plan)
    parts = plan.of("transfer").parts
    unquantised = 2 * 32000 * 4096 + 65 * 4096
    assert parts["llm"] == pytest.approx((6_738_415_616 - unquantised) * NF4_BYTES + unquantised * 2, rel=1e-3)
    assert parts["encoder"] / GIB == pytest.approx(3.11, abs=0.01)
    assert plan.trained["align"] == 2048 * 4096 + 4096 + 4096 * 4096 + 4096 + 2 * 4096
    assert plan.limit_bytes == 24 * GIB
    assert plan.download_bytes > 12 * GIB


@pytest.mark.parametrize(
    ("change", "category", "factor"),
    [
        ("transfer.tokens_per_micro_batch=8192", "activations", 2.0),
        ("transfer.lora.rank=32", "adapter", 2.0),
        ("llm.quantization=none", "llm", 3.5),
        ("encoder.dtype=float32", "encoder", 2.0),
        ("transfer.optimizer=adamw", "optimizer", 3.9),
    ],
)
def test_each_setting_moves_its_own_part(change: str, category: str, factor: float) -> None:
    before = make_plan(load_recipe("llama-7b-24gb")).of("transfer").parts
    after = make_plan(load_recipe("llama-7b-24gb", [change])).of("transfer").parts
    assert after[category] == pytest.approx(before[category] * factor, rel=0.05)
    others = {name for name in before if name not in (category, "overhead", "gradients", "optimizer", "adapter")}
    assert {name: before[name] for name in others} == {name: after[name] for name in others}


def test_gradient_checkpointing_saves_most_of_the_activations() -> None:
    with_it, without = (
        make_plan(load_recipe("llama-7b-24gb", [f"llm.gradient_checkpointing={on}"])).of("align").parts["activations"]
        for on in ("true", "false")
    )
    assert without > 5 * with_it


def test_a_plan_over_its_card_names_the_largest_part_and_the_remedy() -> None:
    plan = make_plan(load_recipe("llama-7b-24gb", ["card=8gb", "transfer.tokens_per_micro_batch=32768"]))
    with pytest.raises(RecipeError, match=r"activations \(\d+\.\d GiB\); lower the stage's tokens_per_micro_batch"):
        require_fit(plan)


def test_an_unknown_model_without_a_hub_is_one_clear_line() -> None:
    with pytest.raises(ModelError, match="hub cannot be reached"):
        make_plan(load_recipe("tiny-cpu", ["llm.model=nobody/knows-this"]))


def test_every_known_configuration_belongs_to_a_shipped_recipe() -> None:
    from lilift.recipe.load import shipped_recipes

    folder = configurations.resources.files("lilift.memory") / "known_models"
    known = {path.name.removesuffix(".json").replace("--", "/") for path in folder.iterdir()}
    used = {name for recipe in map(load_recipe, shipped_recipes()) for name in (recipe.llm.model, recipe.encoder.model)}
    assert known <= used


def test_a_gpu_recipe_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EnvironmentUnfit, match="24gb GPU and no CUDA GPU"):
        device_for("24gb")
    assert device_for("cpu").torch_device == torch.device("cpu")


def test_a_cpu_recipe_stays_on_the_cpu_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "find_device", lambda: card.Device("cuda", "a GPU", GIB, GIB))
    assert device_for("cpu").kind == "cpu"
    assert device_for("24gb").kind == "cuda"
    assert memory_limit_bytes("12gb") == 12 * GIB


def test_a_probe_inside_another_does_not_hide_the_earlier_peak_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's peak counter is one for the whole process; it is imitated here by one number."""
    peak = {"bytes": 0}
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: peak.update(bytes=0))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: peak["bytes"])
    with MemoryProbe("cuda") as outer:
        peak["bytes"] = 300 * 2**20  # loading a model
        with MemoryProbe("cuda") as inner:
            peak["bytes"] = 100 * 2**20  # training
        assert inner.peak_mib == 100
    assert outer.peak_mib == 300


def test_the_probe_sees_memory_that_came_and_went() -> None:
    with MemoryProbe("cpu") as quiet:
        pass
    with MemoryProbe("cpu") as probe:
        block = torch.ones(64 * 1024 * 1024, dtype=torch.uint8)  # 64 MiB, touched
        import time

        time.sleep(0.1)
        del block
    assert probe.peak_mib >= quiet.peak_mib + 40
