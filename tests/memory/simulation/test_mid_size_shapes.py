"""Predicted memory of every phase against real steps on a CPU, for layers of 576 x 1536 in float32, in tiles."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lilift.data.texts.examples import Row
from lilift.evaluate.evaluation_rehearsal import rehearsal as rehearse_evaluation
from lilift.memory.model_configurations import load_models
from lilift.memory.simulation.simulate import LASTING, Simulation, simulate
from lilift.model.assemble_bridge import load_bridge
from lilift.model.bridge import BridgedModel
from lilift.model.llms.lean_layers import gated_mlp
from lilift.recipe.schema import Recipe
from lilift.train.optimizer import allocate_state, build_optimizer
from lilift.train.stage_rehearsal import rehearsal as rehearse_stage
from tests.memory import tiny_models
from tests.memory.real_steps import allocated_by, changing, stage_step

# The shape of SmolLM2-135M's layers, one layer more than the planner runs.
SHAPE = {"hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3}
LAYERS, VOCABULARY = 5, 2048
ROWS = [Row((3,) * 24, (), (3,) * response) for response in (69, 61, 40)]
ANSWER = 8
QUESTIONS = [Row((3,) * source, (3,) * 8, (3,) * ANSWER) for source in (24, 20, 17)]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    shape = SHAPE | {"num_hidden_layers": LAYERS, "vocab_size": VOCABULARY}
    folder = tiny_models.make_models(tmp_path_factory.mktemp("models"), **shape)
    return tiny_models.make_recipe(folder, "llm.dtype=float32")


@pytest.fixture(scope="module")
def bridge(recipe: Recipe) -> BridgedModel:
    return load_bridge(recipe, device="cpu")


def predicted(recipe: Recipe, phase: str) -> Simulation:
    rehearsal = rehearse_evaluation(QUESTIONS) if phase == "evaluate" else rehearse_stage(recipe, phase, ROWS)
    return simulate(recipe, load_models(recipe), rehearsal, device="cpu", expandable=False)


def tensors_in(state: dict[str, Any]) -> list[torch.Tensor]:
    return [value for value in state.values() if isinstance(value, torch.Tensor)]


def test_every_phase_takes_what_was_predicted(recipe: Recipe, bridge: BridgedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gated_mlp, "TILE", 32)  # 288 tokens are nine tiles
    for phase in ("align", "transfer"):
        step = stage_step(bridge, phase, recipe, ROWS)
        simulation = predicted(recipe, phase)
        assert changing(simulation) == pytest.approx(allocated_by(step), rel=0.02), phase
        trained = {name: parameter for name, parameter in bridge.named_parameters() if parameter.requires_grad}
        optimizer = build_optimizer(trained, getattr(recipe, phase))
        allocate_state(optimizer)
        held = {value.data_ptr(): value.nbytes for state in optimizer.state.values() for value in tensors_in(state)}
        assert simulation.parts["optimizer"] == pytest.approx(sum(held.values()), rel=0.02), phase
    bridge.requires_grad_(False).eval()
    bridge.tokens = type(bridge.tokens)(bos=bridge.tokens.bos, eos=bridge.tokens.eos, stop=(10**6,))
    measured = allocated_by(lambda: bridge.generate(QUESTIONS, max_new_tokens=ANSWER, batch_tokens=10**6))
    answers = predicted(recipe, "evaluate")
    lasting = sum(answers.parts.get(name, 0) for name in LASTING)
    alone = max(sum(parts.values()) for segment, parts in answers.segments.items() if not segment.startswith("new rows"))
    assert alone - lasting == pytest.approx(measured, rel=0.05)
