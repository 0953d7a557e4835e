"""What is changed where a recipe does not fit, in which order, and what is given back once there is room.

What a phase takes is a sum of a few numbers here; `test_simulate` holds the real ones to what torch allocates.
"""

from __future__ import annotations

import pytest

from lilift.memory import phase_plan
from lilift.memory import plan as planning
from lilift.memory.changes import with_recorded_changes
from lilift.memory.plan import Plan
from lilift.memory.planned_card import PlannedCard, planned_card
from lilift.memory.simulation.simulate import Rehearsal, Simulation
from lilift.phases.rehearsals import plan_recipe, require_plan_fits
from lilift.recipe.errors import RecipeError
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import Recipe

MIB = 2**20
LLM, ENCODER, OPTIMIZER, READING = 100 * MIB, 60 * MIB, 8 * MIB, 5 * MIB
A_ROW = {True: 10 * MIB, False: 40 * MIB, "offload": 4 * MIB}  # by gradient checkpointing


def taken(recipe: Recipe, _models: object, rehearsal: Rehearsal, **_: object) -> Simulation:
    """Lasting parts, so much a row, and the encoder: there all the time, while it reads, or while nothing else is there."""
    rows = len(rehearsal.rows)
    trained = rehearsal.name != "evaluate"
    a_row = A_ROW[recipe.llm.gradient_checkpointing] if trained else A_ROW[True]
    paged = trained and getattr(recipe, rehearsal.name).optimizer == "paged_adamw_8bit"
    optimizer = OPTIMIZER if trained and not paged else 0
    placement = recipe.encoder.placement
    working = {"llm": LLM, "encoder": ENCODER if placement == "resident" else 0, "optimizer": optimizer}
    working["activations"] = rows * a_row
    reading = {"llm": LLM if placement == "cached-ram" else 0, "encoder": ENCODER, "activations": READING}
    segments = [working] if placement == "resident" else [working, reading]
    parts = max(segments, key=lambda parts: sum(parts.values()))
    return Simulation(parts, "", 0.0, {"working": working})


@pytest.fixture(autouse=True)
def arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "simulate", taken)
    monkeypatch.setattr(planning, "LEAST_OVERHEAD", 0.0)
    monkeypatch.setattr(phase_plan, "ratio", lambda *_: 1.0)


def planned(mib: float, *overrides: str) -> Plan:
    """The plan of a recipe with 5 rows in align, 8 in transfer and 9 answers side by side, on a card of this size."""
    usable = int(mib * MIB)
    batches = ["align.tokens_per_micro_batch=1024", "transfer.tokens_per_micro_batch=1536", "evaluate.tokens_per_batch=1800"]
    recipe = load_recipe("tiny-cpu", ["card=24gb", "llm.gradient_checkpointing=true", *batches, *overrides])
    return plan_recipe(recipe, card=PlannedCard("a card", "cuda", usable, usable, 0, True))


def settings(plan: Plan) -> dict[str, tuple[str, str]]:
    return {change.setting: (change.before, change.after) for change in plan.changes}


def without_bfloat16(*overrides: str, strict: bool = False) -> Plan:
    recipe = load_recipe("tiny-cpu", ["card=16gb", "llm.dtype=bfloat16", "encoder.dtype=bfloat16", *overrides])
    return plan_recipe(recipe, card=planned_card("t4"), strict=strict)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_a_gpu_without_bfloat16_gets_number_types_that_it_computes_in(quantization: str) -> None:
    plan = without_bfloat16(f"encoder.quantization={quantization}")
    assert settings(plan) == {"llm.dtype": ("bfloat16", "float16"), "encoder.dtype": ("bfloat16", "float32")}
    assert (plan.recipe.llm.dtype, plan.recipe.encoder.dtype) == ("float16", "float32")
    assert not plan.emulates_bfloat16
    again = with_recorded_changes(load_recipe("tiny-cpu", ["llm.dtype=bfloat16"]), [one.as_dict() for one in plan.changes])
    assert again.llm.dtype == "float16"  # a resumed run keeps it


def test_a_strict_plan_keeps_bfloat16_and_knows_that_it_is_emulated() -> None:
    plan = without_bfloat16(strict=True)
    assert not plan.changes
    assert plan.emulates_bfloat16
    assert not without_bfloat16("llm.dtype=float16", "encoder.dtype=float32", strict=True).emulates_bfloat16


def test_a_t4_is_planned_with_its_own_memory_and_speed() -> None:
    t4, ordinary = planned_card("T4"), planned_card("16gb")
    assert (t4.total_bytes, t4.bfloat16, t4.tflops) == (15 * 2**30, False, 65.0)
    assert t4.context_bytes < ordinary.context_bytes  # a card of a free notebook shows no desktop
    assert "of 65 TFLOP/s" in without_bfloat16("align.max_steps=9", "transfer.max_steps=9").footprint.time_basis


def test_what_fits_is_left_alone() -> None:
    assert not planned(500).changes


def test_gradient_checkpointing_comes_first() -> None:
    assert settings(planned(280, "llm.gradient_checkpointing=false")) == {"llm.gradient_checkpointing": ("false", "true")}


def test_then_smaller_batches_as_large_as_there_is_room_for() -> None:
    plan = planned(100 + 60 + 8 + 3 * 10 + 1)
    assert settings(plan).keys() == {
        "align.tokens_per_micro_batch",
        "transfer.tokens_per_micro_batch",
        "evaluate.tokens_per_batch",
    }
    assert [plan.of(phase).rows for phase in ("align", "transfer", "evaluate")] == [3, 3, 3]


def test_on_a_cpu_a_stage_then_returns_what_it_frees() -> None:
    usable = 181 * MIB  # one row takes 168 + 10 MiB; kept holes are 5 MiB, others 2.5
    recipe = load_recipe("tiny-cpu", ["llm.gradient_checkpointing=true", "export.formats=[]"])
    plan = plan_recipe(recipe, card=PlannedCard("a computer", "cpu", usable, usable, 0, True))
    assert plan.peak_bytes <= usable
    found = settings(plan)
    assert found["align.freed_memory"] == found["transfer.freed_memory"] == ("keep", "return")
    assert "align.optimizer" not in found
    again = with_recorded_changes(load_recipe("tiny-cpu"), [one.as_dict() for one in plan.changes])
    assert again.align.freed_memory == "return"  # a resumed run keeps it


@pytest.mark.parametrize(("mib", "placement"), [(170, "cached-ram"), (120, "cached-disk")])
def test_then_the_encoder_leaves_the_card_and_batches_grow_again(mib: float, placement: str) -> None:
    plan = planned(mib)
    require_plan_fits(plan)
    assert settings(plan)["encoder.placement"] == ("resident", placement)
    # 170: 62 MiB beside LLM and optimizer. 120: 12.
    assert plan.of("transfer").rows == (6 if placement == "cached-ram" else 1)
    assert sum(change.setting == "encoder.placement" for change in plan.changes) == 1
    assert all(change.saved_bytes > 0 for change in plan.changes)


def test_then_checkpoints_and_then_the_optimizer_go_to_host_memory() -> None:
    offloaded = planned(113, "evaluate.tokens_per_batch=16")
    assert settings(offloaded)["llm.gradient_checkpointing"] == ("true", "offload")
    assert "transfer.optimizer" not in settings(offloaded)
    paged = planned(110, "evaluate.tokens_per_batch=16")
    assert settings(paged)["transfer.optimizer"] == ("adamw", "paged_adamw_8bit")
    require_plan_fits(paged)


def test_what_cannot_fit_is_refused_and_rows_are_not_shortened() -> None:
    plan = planned(90)
    assert plan.recipe.data.max_tokens == load_recipe("tiny-cpu").data.max_tokens
    with pytest.raises(RecipeError, match="the largest part is llm"):
        require_plan_fits(plan)


def test_a_four_bit_encoder_stays_where_it_is() -> None:
    plan = planned(150, "encoder.quantization=nf4")
    assert plan.recipe.encoder.placement == "resident"
