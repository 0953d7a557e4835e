"""The plan of an export holds what comparing the merged weights with the model of the run takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lilift.data.texts.examples import Row
from lilift.export.drift import MAX_TOKENS, Candidate, measure_drift
from lilift.memory import export_plan
from lilift.memory.plan import Plan
from lilift.model.assemble_bridge import load_bridge
from lilift.phases.rehearsals import plan_recipe
from tests.memory import tiny_models
from tests.memory.real_steps import allocated_by

VOCABULARY = 16384  # so large that logits are most of the memory, as with a real LLM


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.make_models(tmp_path_factory.mktemp("models"), vocab_size=VOCABULARY, num_hidden_layers=2)


def plan_of(folder: Path, *overrides: str) -> Plan:
    settings = ["llm.dtype=float32", "llm.quantization=none", "export.formats=[gguf]", *overrides]
    return plan_recipe(tiny_models.make_recipe(folder, *settings), strict=True)


def test_a_comparison_takes_less_than_planned_and_not_much_less(folder: Path) -> None:
    plan = plan_of(folder)
    bridge = load_bridge(plan.recipe, device="cpu")
    weights = {f"{name}.weight": module.weight for name, module in bridge.causal_lm.named_modules() if name.endswith("_proj")}
    rows = [Row((3,) * 8, (), (3,) * (MAX_TOKENS // 16))] * 16
    candidate = Candidate("the same weights", weights.keys(), lambda name: weights[name])
    measured = allocated_by(lambda: measure_drift(bridge, rows, [candidate]))
    assert 0.8 * plan.of("export").parts["temporaries"] <= measured <= plan.of("export").parts["temporaries"]
    assert export_plan.COMPARED_TOKENS == MAX_TOKENS


def test_an_export_without_the_comparison_is_planned_without_the_model(folder: Path) -> None:
    compared, merged = (plan_of(folder, f"export.drift={drift}").of("export") for drift in ("true", "false"))
    assert merged.parts.keys() == {"context", "llm", "overhead"}
    assert merged.peak_bytes < compared.peak_bytes
    assert compared.parts["encoder"] > 0
