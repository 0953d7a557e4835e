"""The plan: what fits, what is changed, what is refused, and the instant form beside it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from lilift.memory import device, model_configurations
from lilift.memory.changes import with_recorded_changes
from lilift.memory.device import device_for
from lilift.memory.exchange_plan import exchange_lines, exchange_plan
from lilift.memory.instant_plan import instant_plan
from lilift.memory.model_configurations import empty_llm, load_config
from lilift.memory.plan import Plan
from lilift.memory.planned_card import GIB, MIB, planned_card
from lilift.memory.probe import MemoryProbe
from lilift.phases.rehearsals import plan_recipe, require_plan_fits
from lilift.recipe.errors import EnvironmentUnfit, ModelError, RecipeError
from lilift.recipe.load import load_recipe, shipped_recipes

# Parameters as the makers publish them.
PUBLISHED = {
    "meta-llama/Llama-2-7b-hf": 6.738e9,
    "meta-llama/Llama-2-13b-hf": 13.016e9,
    "meta-llama/Llama-3.1-8B": 8.030e9,
    "meta-llama/Llama-3.2-3B": 3.213e9,
    "mistralai/Mistral-7B-v0.1": 7.242e9,
    "Qwen/Qwen2.5-7B": 7.616e9,
    "Qwen/Qwen2.5-1.5B": 1.544e9,
    "Qwen/Qwen3-8B": 8.191e9,
    "Qwen/Qwen3-4B": 4.022e9,
    "Qwen/Qwen3-1.7B": 1.721e9,
    "HuggingFaceTB/SmolLM3-3B": 3.075e9,
    "HuggingFaceTB/SmolLM2-135M-Instruct": 1.345e8,
    "utter-project/EuroLLM-9B-Instruct": 9.152e9,
}


@pytest.fixture(scope="module")
def plan_7b() -> Plan:
    return plan_recipe(load_recipe("llama-7b-24gb"))


def test_a_7b_recipe_is_planned_from_known_configurations_and_fits_its_card(plan_7b: Plan) -> None:
    """Nothing is downloaded here; mT5-xl's encoder (1.67e9 parameters in bfloat16) is public."""
    require_plan_fits(plan_7b)
    parts = plan_7b.of("transfer").parts
    unquantised = 2 * 32000 * 4096 + 65 * 4096
    assert parts["llm"] == pytest.approx((6_738_415_616 - unquantised) * 0.516 + unquantised * 2, rel=2e-3)
    assert parts["encoder"] / GIB == pytest.approx(3.11, abs=0.01)
    assert plan_7b.trained["align"] == 2048 * 4096 + 4096 + 4096 * 4096 + 4096 + 2 * 4096
    assert plan_7b.trained["transfer"] == 16 * 32 * (4 * (4096 + 4096) + 3 * (4096 + 11008))
    assert not plan_7b.changes
    # 6.738e9 parameters in float16; the whole of mT5-xl, 3.74e9 with its head, in float32.
    assert plan_7b.footprint.download_bytes == pytest.approx(6.738e9 * 2 + 3.743e9 * 4, rel=0.002)


def test_several_processes_need_the_whole_recipe_each_and_send_gradients(plan_7b: Plan) -> None:
    figures = exchange_plan(plan_7b, 4)["stages"]
    for stage, trained in plan_7b.trained.items():
        own = plan_7b.of(stage)
        assert figures[stage]["sent_mib_a_step"] == pytest.approx(6 * trained / MIB, abs=0.01)  # 4 bytes, 2 (N - 1) / N times
        assert figures[stage]["peak_mib"] == pytest.approx((own.peak_bytes + min(4 * trained, 32 * MIB)) / MIB, abs=0.1)
        assert figures[stage]["micro_batches_of_a_process"] == -(-own.accumulation // 4)
    lines = exchange_lines(plan_7b, 4)
    assert lines[0].startswith("with 4 processes: each needs a card of its own that holds the whole recipe")
    assert any("send" in line and "over PCIe" in line for line in lines)
    assert "(training: about " in lines[-1]
    assert exchange_lines(plan_7b, 1) == []
    with pytest.raises(RecipeError, match="at least one process"):
        exchange_plan(plan_7b, 0)
    with pytest.raises(RecipeError, match="more processes do not help, because each holds the whole model on its card"):
        require_plan_fits(replace(plan_7b, card=planned_card("8gb")), processes=2)


def test_the_disk_holds_every_file_that_is_exported(plan_7b: Plan) -> None:
    gib = {
        setting: plan_recipe(load_recipe("llama-7b-24gb", [f"export={setting}"])).footprint.run_bytes / GIB
        for setting in (
            "{formats: []}",
            "{formats: [gguf], quantisations: [q8_0]}",
            "{formats: [gguf], quantisations: [q4_k_m]}",
        )
    }
    nothing, q8, q4 = gib.values()
    parameters, encoder = 6.738e9 / GIB, 2 * 1.67e9 / GIB
    assert plan_7b.footprint.run_bytes / GIB - nothing == pytest.approx(2 * parameters, rel=0.01)
    assert q8 - nothing == pytest.approx(parameters * 34 / 32 + encoder, rel=0.01)
    # The quantiser reads a file of 16 bits; llama.cpp's own table has 3.80 GiB for Q4_K_M.
    assert q4 - nothing == pytest.approx(2 * parameters + 3.80 + encoder, rel=0.02)


def test_a_recipe_that_exports_nothing_has_no_plan_for_it() -> None:
    plan = plan_recipe(load_recipe("tiny-cpu", ["export.formats=[]"]), strict=True)
    assert [phase.phase for phase in plan.phases] == ["align", "transfer", "evaluate"]


def test_the_instant_form_tells_the_simulation_within_a_hundredth(plan_7b: Plan) -> None:
    instant = instant_plan(load_recipe("llama-7b-24gb"))
    for phase in instant.phases:
        assert phase.peak_bytes == pytest.approx(plan_7b.of(phase.phase).peak_bytes, rel=0.01)


def test_the_instant_form_follows_the_number_of_tokens() -> None:
    changed = ["transfer.tokens_per_micro_batch=11520", "transfer.tokens_per_step=46080"]
    plan = plan_recipe(load_recipe("tiny-cpu", ["transfer.tokens_per_micro_batch=1536"]))
    for phase in instant_plan(load_recipe("tiny-cpu", ["transfer.tokens_per_micro_batch=1536"])).phases:
        assert phase.peak_bytes == pytest.approx(plan.of(phase.phase).peak_bytes, rel=0.01)
    peaks = [
        {phase.phase: phase.peak_bytes for phase in instant_plan(load_recipe("llama-7b-24gb", settings)).phases}
        for settings in (changed, [])
    ]
    assert peaks[0]["transfer"] > peaks[1]["transfer"]
    assert peaks[0]["align"] == peaks[1]["align"]


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_every_shipped_recipe_fits_its_card_with_room_to_spare(name: str) -> None:
    recipe = load_recipe(name)
    instant = instant_plan(recipe)
    assert instant.peak_bytes <= 0.95 * instant.card.total_bytes
    if recipe.card != "cpu":
        assert name.endswith(recipe.card)


@pytest.mark.parametrize(("model", "parameters"), sorted(PUBLISHED.items()))
def test_known_configurations_give_the_published_number_of_parameters(model: str, parameters: float) -> None:
    llm = empty_llm(load_config(model, None))
    assert sum(parameter.numel() for parameter in llm.parameters()) == pytest.approx(parameters, rel=1e-3)


def test_what_does_not_fit_is_changed_and_each_change_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a card too small for its batches the recipe gets smaller ones, and nothing else."""
    recipe = load_recipe("tiny-cpu", ["export.formats=[]"])  # an export has no batches
    strict = plan_recipe(recipe, strict=True)
    needed = strict.of("transfer").peak_bytes
    limit_plan_to(monkeypatch, int(needed - 0.5 * strict.of("transfer").parts["activations"]))
    plan = plan_recipe(recipe)
    require_plan_fits(plan)
    settings = [change.setting for change in plan.changes]
    batches = {"align.tokens_per_micro_batch", "transfer.tokens_per_micro_batch", "evaluate.tokens_per_batch"}
    assert set(settings) <= {"llm.gradient_checkpointing"} | batches
    stages = [setting for setting in settings if setting != "evaluate.tokens_per_batch"]
    assert stages[0] == "llm.gradient_checkpointing"
    assert all(change.cost and change.before != change.after for change in plan.changes)
    assert plan.recipe.llm.gradient_checkpointing
    assert plan.peak_bytes <= plan.limit_bytes < needed
    with pytest.raises(RecipeError, match=r"leave out --strict, or set \w+\.\w+=\w+ first"):
        require_plan_fits(plan_recipe(recipe, strict=True))


def test_changes_are_made_again_only_to_settings_that_are_what_they_were() -> None:
    recorded = [
        {"setting": "encoder.placement", "before": "resident", "after": "cached-ram"},
        {"setting": "align.tokens_per_micro_batch", "before": "1024", "after": "512"},
    ]
    again = with_recorded_changes(load_recipe("tiny-cpu"), recorded)
    assert (again.encoder.placement, again.align.tokens_per_micro_batch) == ("cached-ram", 512)
    other = with_recorded_changes(load_recipe("tiny-cpu", ["align.tokens_per_micro_batch=768"]), recorded)
    assert (other.encoder.placement, other.align.tokens_per_micro_batch) == ("cached-ram", 768)


def test_what_cannot_fit_is_refused_with_the_largest_part_and_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_plan_to(monkeypatch, 500 * 2**20)  # the process alone takes more
    with pytest.raises(RecipeError, match=r"the largest part is context .* use a card with") as raised:
        require_plan_fits(plan_recipe(load_recipe("tiny-cpu")))
    assert raised.value.exit_code == 2


def limit_plan_to(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    from lilift.memory import plan

    small = replace(planned_card("cpu"), usable_bytes=limit)
    monkeypatch.setattr(plan, "planned_card", lambda _name: small)


@pytest.mark.parametrize(("name", "gib"), [("24gb", 24), ("RTX 4090", 24), ("rtx-4060", 8), ("80gb", 80)])
def test_cards_are_known_by_size_and_by_name(name: str, gib: int) -> None:
    assert planned_card(name).total_bytes == gib * GIB


def test_an_unknown_card_is_one_clear_line() -> None:
    with pytest.raises(RecipeError, match="does not know the card 'voodoo2'; give its memory, such as 16gb, or one of rtx3060"):
        planned_card("voodoo2")


def test_an_unknown_model_without_a_hub_is_one_clear_line() -> None:
    with pytest.raises(ModelError, match="hub cannot be reached"):
        plan_recipe(load_recipe("tiny-cpu", ["llm.model=nobody/knows-this"]))


def test_every_known_configuration_belongs_to_a_shipped_recipe() -> None:
    folder = model_configurations.resources.files("lilift.memory") / "known_models"
    known = {path.name.removesuffix(".json").replace("--", "/") for path in folder.iterdir()}
    used = {name for recipe in map(load_recipe, shipped_recipes()) for name in (recipe.llm.model, recipe.encoder.model)}
    assert known <= used


def test_a_gpu_recipe_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EnvironmentUnfit, match=r"needs a CUDA GPU \(card 24gb\)"):
        device_for("24gb")
    assert device_for("cpu").torch_device == torch.device("cpu")


def test_a_cpu_recipe_stays_on_the_cpu_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "find_device", lambda: device.Device("cuda", "a GPU", GIB, GIB))
    assert device_for("cpu").kind == "cpu"
    assert device_for("24gb").kind == "cuda"


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
    # In a process of its own: here the block could fit into memory that earlier tests have freed.
    program = (
        "import time, torch; from lilift.memory.probe import MemoryProbe\n"
        "with MemoryProbe('cpu') as quiet: pass\n"
        "with MemoryProbe('cpu') as probe:\n"
        "    block = torch.ones(64 * 1024 * 1024, dtype=torch.uint8); time.sleep(0.1); del block\n"
        "print(probe.peak_mib - quiet.peak_mib)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) >= 40


def test_dequantised_weights_are_planned_where_they_have_room() -> None:
    plan = plan_recipe(load_recipe("tiny-cpu"), strict=True)
    weights = 4 * (4 * 128 * 128 + 3 * 128 * 384) * 4  # four layers, in float32
    assert plan.dequantised_bytes == weights
    full = replace(plan, card=replace(plan.card, usable_bytes=plan.of("evaluate").peak_bytes + weights - 1))
    assert full.dequantised_bytes == 0
    always = plan_recipe(load_recipe("tiny-cpu", overrides=["evaluate.dequantize=true"]), strict=True)
    assert always.dequantised_bytes == 0, "they are part of the peak"
    assert always.of("evaluate").parts["llm"] == plan.of("evaluate").parts["llm"] + weights
