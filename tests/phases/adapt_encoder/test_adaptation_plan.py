"""The adaptation in a memory plan: a phase before the LLM is loaded, with the encoder's own sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from transformers import BertConfig

from lilift.memory.footprint import Footprint
from lilift.memory.model_configurations import empty_encoder
from lilift.memory.phase_plan import PhasePlan
from lilift.memory.plan import Plan
from lilift.memory.planned_card import GIB, planned_card
from lilift.memory.simulation import simulate
from lilift.phases.adapt_encoder import adaptation_plan
from lilift.phases.adapt_encoder.adaptation_plan import require_adaptation_fits, with_adaptation
from lilift.recipe.errors import RecipeError
from lilift.recipe.load import load_recipe

ADAPT = "encoder.adapt.text={sw: sw.txt}"


def with_shape(shape: dict[str, int]) -> BertConfig:
    """The configuration of a small encoder."""
    return BertConfig(vocab_size=2000, hidden_size=48, num_attention_heads=4, intermediate_size=64, **shape)


def planned(name: str, *overrides: str, card: str) -> Plan:
    recipe = load_recipe(name, ["languages=[sw]", *overrides])
    phases = (PhasePlan("align", {"context": GIB, "llm": GIB}),)
    return Plan(recipe, planned_card(card), phases, (), Footprint(0, 0, 2 * GIB, 0, 0, None, ""), {"align": 1})


def test_a_recipe_that_adapts_nothing_keeps_its_plan() -> None:
    plan = planned("smollm2-135m-cpu", card="24gb")
    assert with_adaptation(plan) is plan


def test_the_phase_comes_first_and_has_the_weights_of_the_encoder_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    config = with_shape({"num_hidden_layers": 2})
    monkeypatch.setattr(adaptation_plan, "load_config", lambda *_: config)
    plan = with_adaptation(planned("smollm2-135m-cpu", ADAPT, card="24gb"))
    assert [phase.phase for phase in plan.phases] == ["adapt", "align"]
    adapt = plan.of("adapt")
    assert adapt.parts["encoder"] == pytest.approx(4 * empty_encoder(config).num_parameters(), rel=0.02), "float32, and buffers"
    assert "llm" not in adapt.parts
    # In each layer 4 matrices of 48 x 48 and 2 of 48 x 64, and a new head of 48 weights and one more for each of 2,000 tokens.
    lora = 2 * 16 * (4 * (48 + 48) + 2 * (48 + 64))
    assert plan.trained == {"adapt": lora + 2000 * 49, "align": 1}
    # Both with their gradients and two moments, in float32.
    assert adapt.parts["adapter"] == 4 * plan.trained["adapt"]
    assert adapt.parts["optimizer"] == pytest.approx(2 * adapt.parts["adapter"], rel=0.01)


def test_two_depths_give_the_plan_of_all_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    shallow = {"num_hidden_layers": 5}
    monkeypatch.setattr(adaptation_plan, "load_config", lambda *_: with_shape(shallow))
    extrapolated = with_adaptation(planned("smollm2-135m-cpu", ADAPT, card="24gb")).of("adapt")
    monkeypatch.setattr(simulate, "DEEP", 5)
    exact = with_adaptation(planned("smollm2-135m-cpu", ADAPT, card="24gb")).of("adapt")
    assert exact.parts | {"overhead": 0} == extrapolated.parts | {"overhead": 0}
    assert exact.parts["overhead"] == pytest.approx(extrapolated.parts["overhead"], rel=0.2)


def test_a_card_that_is_too_small_is_refused_with_a_way_out() -> None:
    plan = replace(planned("smollm2-135m-cpu", ADAPT, card="24gb"), phases=(PhasePlan("adapt", {"encoder": GIB}),))
    require_adaptation_fits(plan)
    huge = PhasePlan("adapt", {"encoder": 30 * GIB})
    small = replace(plan, phases=(huge,))
    with pytest.raises(RecipeError, match="the adaptation of the encoder needs") as caught:
        require_adaptation_fits(small)
    assert "encoder.adapt" in str(caught.value)
