"""The translator in a memory plan: a phase of its own, beside the LLM if it translates answers, or in the host's memory."""

from __future__ import annotations

import json

import pytest

from lilift.cli.app import main
from lilift.memory.footprint import Footprint
from lilift.memory.phase_plan import PhasePlan
from lilift.memory.plan import Plan
from lilift.memory.planned_card import GIB, planned_card
from lilift.phases.translator_plan import require_translator_fits, translator_line, with_translator
from lilift.recipe.errors import RecipeError
from lilift.recipe.load import load_recipe
from lilift.translation.translator_memory import translator_memory

NLLB = "OpenNMT/nllb-200-distilled-1.3B-ct2-int8"


def planned(*overrides: str, card: str = "24gb") -> Plan:
    recipe = load_recipe("baseline-translate-test-7b-24gb", overrides)
    phases = tuple(PhasePlan(name, {"context": GIB, "llm": 4 * GIB, "kv_cache": GIB}) for name in ("transfer", "evaluate"))
    return Plan(recipe, planned_card(card), phases, (), Footprint(0, 0, 2 * GIB, 0, 0, None, ""), {})


def test_the_translator_is_a_phase_before_the_llm_is_loaded() -> None:
    plan = with_translator(planned())
    assert [phase.phase for phase in plan.phases] == ["transfer", "translate", "evaluate"]
    translate, evaluate = plan.of("translate"), plan.of("evaluate")
    assert 1.2 * GIB < translate.parts["translator"] < 1.4 * GIB, "1.37 billion weights of one byte"
    assert "llm" not in translate.parts
    assert evaluate == planned().of("evaluate")
    memory = translator_memory(plan.recipe.evaluate.pivot, on_gpu=True)  # type: ignore[arg-type]
    assert memory is not None
    assert translate.peak_bytes == plan.card.context_bytes + memory.total
    assert "before the LLM is loaded; computed, not measured" in str(translator_line(plan.recipe, plan.card))


def test_it_stands_beside_the_llm_if_it_translates_answers() -> None:
    plan = with_translator(planned("evaluate.respond_in=asked"))
    assert [phase.phase for phase in plan.phases] == ["transfer", "evaluate"]
    added = plan.of("evaluate").peak_bytes - planned().of("evaluate").peak_bytes
    assert added > plan.of("evaluate").parts["translator"] > GIB
    assert "beside the LLM" in str(translator_line(plan.recipe, plan.card))


def test_on_a_cpu_it_takes_the_hosts_memory_and_an_unknown_one_is_named() -> None:
    plan = with_translator(planned("evaluate.pivot.device=cpu"))
    assert plan.phases == planned().phases
    assert plan.footprint.host_bytes > planned().footprint.host_bytes
    unknown = planned("evaluate.pivot.model=someone/translator")
    assert with_translator(unknown) == unknown
    assert "does not know the size of someone/translator" in str(translator_line(unknown.recipe, unknown.card))
    without = planned("evaluate.pivot=null")
    assert translator_line(without.recipe, without.card) is None


def test_an_instant_plan_has_the_translator_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "plan", "baseline-translate-test-7b-24gb", "--instant"]) == 0
    out = capsys.readouterr().out
    assert " translate " in out
    assert "before the LLM is loaded; computed, not measured" in out


def test_an_instant_plan_says_that_it_leaves_the_adaptation_out(capsys: pytest.CaptureFixture[str]) -> None:
    adapted = [
        "recipe",
        "plan",
        "smollm2-135m-cpu",
        "--instant",
        "--set=encoder.adapt.text={sw: sw.txt}",
        "--set=languages=[sw]",
    ]
    assert main(adapted) == 0
    assert "without adapt, for which lilift has no fitted lines" in capsys.readouterr().out
    assert main([*adapted, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == ["adapt"]


def test_a_translator_that_does_not_fit_is_one_line() -> None:
    large = with_translator(planned("evaluate.pivot.model=facebook/nllb-200-3.3B", "evaluate.pivot.beam_size=16", card="8gb"))
    with pytest.raises(RecipeError, match=r"the translator needs .* GiB, and .*; set evaluate\.pivot\.device=cpu"):
        require_translator_fits(large)
