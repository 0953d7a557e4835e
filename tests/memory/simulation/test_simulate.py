"""Predicted memory against the allocator's own record of a real step: real NF4 weights, LoRA, both stages and generation."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from lilift.data.texts.examples import Row
from lilift.evaluate.evaluation_rehearsal import rehearsal as rehearse_evaluation
from lilift.memory.model_configurations import load_config
from lilift.memory.simulation import simulate as simulation_module
from lilift.memory.simulation.simulate import READING, Models, Rehearsal, Simulation, simulate
from lilift.model.assemble_bridge import attach_lora, load_bridge
from lilift.model.llms import offloaded_checkpoints
from lilift.model.llms.lean_layers import gated_mlp, rms_norm
from lilift.recipe.schema import Recipe
from lilift.train.stage_rehearsal import rehearsal as rehearse_stage
from tests.memory import tiny_models
from tests.memory.real_steps import allocated_by, changing, stage_step

# Of unequal length: without any padding transformers leaves the mask out, which takes less.
ROWS = [Row((3,) * 24, (), (3,) * response) for response in (72, 70, 61, 48)]
ANSWER = 130  # so long that the cache is rebuilt for the last time just before its end
QUESTIONS = [Row((3,) * source, (3,) * 8, (3,) * ANSWER) for source in (24, 20, 17, 24)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.make_models(tmp_path_factory.mktemp("models"))


def models_of(recipe: Recipe) -> Models:
    return load_config(recipe.llm.model, None), load_config(recipe.encoder.model, None)


def phases(recipe: Recipe) -> dict[str, Rehearsal]:
    align, transfer = (rehearse_stage(recipe, stage, ROWS) for stage in recipe.stages)
    return {"align": align, "transfer": transfer, "evaluate": rehearse_evaluation(QUESTIONS)}


def predicted(recipe: Recipe, phase: str, *, exact: bool = False) -> Simulation:
    return simulate(recipe, models_of(recipe), phases(recipe)[phase], device="cpu", expandable=False, exact=exact)


@pytest.mark.parametrize("phase", ["align", "transfer"])
@pytest.mark.parametrize(("checkpointing", "tolerance"), [("true", 0.02), ("false", 0.05)])
def test_a_training_step_takes_what_was_predicted(folder: Path, phase: str, checkpointing: str, tolerance: float) -> None:
    recipe = tiny_models.make_recipe(folder, f"llm.gradient_checkpointing={checkpointing}")
    bridge = load_bridge(recipe, device="cpu")
    measured = allocated_by(stage_step(bridge, phase, recipe, ROWS))
    assert changing(predicted(recipe, phase, exact=True)) == pytest.approx(measured, rel=tolerance)


def test_generation_takes_what_was_predicted(folder: Path) -> None:
    recipe = tiny_models.make_recipe(folder)
    bridge = load_bridge(recipe, device="cpu")
    attach_lora(bridge, recipe.transfer.lora)
    # No token ends a row, so that all of them get as long as they may.
    bridge.tokens = type(bridge.tokens)(bos=bridge.tokens.bos, eos=bridge.tokens.eos, stop=(10**6,))
    measured = allocated_by(lambda: bridge.generate(QUESTIONS, max_new_tokens=ANSWER, batch_tokens=10**6))
    expected = predicted(recipe, "evaluate", exact=True)
    lasting = expected.total - changing(expected)
    # Here all rows end together, so that none comes in beside others.
    alone = max(sum(parts.values()) for segment, parts in expected.segments.items() if not segment.startswith("new rows"))
    assert alone - lasting == pytest.approx(measured, rel=0.05)
    assert changing(expected) >= 0.95 * measured


@pytest.mark.parametrize(
    ("phase", "checkpointing"), [("align", "false"), ("transfer", "true"), ("transfer", "false"), ("evaluate", "true")]
)
def test_two_and_four_layers_tell_all_layers_exactly(folder: Path, phase: str, checkpointing: str) -> None:
    recipe = tiny_models.make_recipe(folder, f"llm.gradient_checkpointing={checkpointing}")
    all_layers = predicted(recipe, phase, exact=True)
    extrapolated = predicted(recipe, phase)
    assert extrapolated.total == all_layers.total
    assert extrapolated.parts == all_layers.parts


@pytest.mark.parametrize("quantisation", ["nf4", "none"])
def test_shortened_loops_change_nothing(folder: Path, quantisation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten tiles of each MLP and thirteen chunks of each norm take what the first few and a smaller last one take."""
    monkeypatch.setattr(gated_mlp, "TILE", 40)
    monkeypatch.setattr(rms_norm, "CHUNK", 32 * 128)
    recipe = tiny_models.make_recipe(folder, f"llm.quantization={quantisation}")
    shortened = predicted(recipe, "transfer")
    monkeypatch.setattr(simulation_module, "shortened_loops", nullcontext)
    whole = predicted(recipe, "transfer")
    assert shortened.segments == whole.segments
    assert shortened.fragmentation == pytest.approx(whole.fragmentation, abs=0.005)


def on_card(recipe: Recipe, phase: str, *, exact: bool = False) -> Simulation:
    return simulate(recipe, models_of(recipe), phases(recipe)[phase], device="cuda", expandable=True, exact=exact)


@pytest.fixture(scope="module")
def resident(folder: Path) -> Simulation:
    return on_card(tiny_models.make_recipe(folder), "transfer")


@pytest.mark.parametrize("placement", ["cached-ram", "cached-disk"])
def test_an_encoder_that_leaves_the_card_is_there_only_while_it_reads(
    folder: Path, resident: Simulation, placement: str
) -> None:
    """The LLM waits beside it where the encoder comes back, and is not loaded yet where it has read everything before."""
    segments = dict(on_card(tiny_models.make_recipe(folder, f"encoder.placement={placement}"), "transfer").segments)
    reading = segments.pop(READING)
    assert reading["encoder"] == resident.parts["encoder"]
    assert reading.get("llm", 0) == (resident.parts["llm"] if placement == "cached-ram" else 0)
    assert not any(parts.get("encoder") for parts in segments.values())
    states = len(ROWS) * 24 * 64 * 4  # in float32; they stay with the batch until its backward pass is done
    for name in ("forward", "backward, last layers", "backward, first layers"):
        parts = segments[name]
        activations = resident.segments[name].get("activations", 0)
        assert activations <= parts.get("activations", 0) <= activations + states


def test_offloaded_checkpoints_leave_the_card(folder: Path, resident: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offloaded_checkpoints, "LEAST_BYTES", 10_000)  # so that those of tiny models leave too
    recipe = tiny_models.make_recipe(folder, "llm.gradient_checkpointing=offload")
    offloaded = on_card(recipe, "transfer")
    a_layer = len(ROWS) * 100 * 128 * 2  # hidden states of the longest row, times rows, in bfloat16
    saved = resident.segments["forward"]["activations"] - offloaded.segments["forward"]["activations"]
    assert saved > (tiny_models.LAYERS - 2) * 0.9 * a_layer
    assert offloaded.parts == on_card(recipe, "transfer", exact=True).parts


def test_a_rank_whose_gradients_outweigh_the_activations_is_extrapolated_exactly(folder: Path) -> None:
    """Then the backward pass is fullest at its end, not at its beginning."""
    recipe = tiny_models.make_recipe(folder, "transfer.lora.rank=64")
    assert predicted(recipe, "transfer").total == predicted(recipe, "transfer", exact=True).total


def test_what_lasts_is_counted_as_it_is_loaded(folder: Path) -> None:
    recipe = tiny_models.make_recipe(folder)
    bridge = load_bridge(recipe, device="cpu")
    attach_lora(bridge, recipe.transfer.lora)
    simulation = predicted(recipe, "transfer")
    parts = simulation.parts
    adapter = sum(p.numel() for name, p in bridge.llm.named_parameters() if "lora_" in name)
    assert parts["adapter"] == simulation.segments["optimizer"]["gradients"] == 4 * adapter
    assert parts["encoder"] == sum(p.numel() * p.element_size() for p in bridge.encoder.parameters())
    assert parts["alignment"] == sum(t.nbytes for t in (*bridge.alignment.parameters(), *bridge.alignment.buffers()))
    frozen = {
        p.untyped_storage().data_ptr(): p.untyped_storage().nbytes()
        for n, p in bridge.llm.named_parameters()
        if "lora_" not in n
    }
    scales = sum(_scales(parameter) for parameter in bridge.llm.parameters())
    assert parts["llm"] == pytest.approx(sum(frozen.values()) + scales, rel=0.02)


def test_a_four_bit_encoder_is_counted_as_it_is_loaded(folder: Path) -> None:
    recipe = tiny_models.make_recipe(folder, "encoder.quantization=nf4")
    bridge = load_bridge(recipe, device="cpu")
    states = bridge.encoder(torch.full((1, 5), 3), torch.ones(1, 5, dtype=torch.bool))
    assert torch.isfinite(states).all()
    held = sum(p.nbytes + _scales(p) for p in bridge.encoder.parameters())
    full = predicted(tiny_models.make_recipe(folder), "align").parts["encoder"]
    assert predicted(recipe, "align").parts["encoder"] == pytest.approx(held, rel=0.05)
    assert held < 0.8 * full


def _scales(parameter: torch.nn.Parameter) -> int:
    state = getattr(parameter, "quant_state", None)
    if state is None:
        return 0
    return sum(tensor.nbytes for tensor in (state.absmax, state.code, state.state2.absmax, state.state2.code))
