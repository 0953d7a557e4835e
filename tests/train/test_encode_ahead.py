"""Training with an encoder that is not on the card while the LLM learns."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from lilift.data.batches.batching import SequenceShape
from lilift.data.batches.row_dealing import deal_rows
from lilift.data.batches.step_grouping import StepPlan, iterate_steps
from lilift.data.texts.examples import Row
from lilift.memory.encode_ahead import encode_ahead, encoded_steps
from lilift.model.assemble_bridge import load_bridge
from lilift.model.encoders.encoder import Encoder
from lilift.processes.joined_processes import Processes
from lilift.recipe.interrupt import StoppedBySignal
from lilift.recipe.schema import Recipe
from lilift.train.stage_job import StageResult
from lilift.train.stages import run_stage
from lilift.train.training_progress import NoProgress
from tests.train import tiny_run
from tests.train.test_loop import Recorder, assert_same, metrics, send_at, trained_weights

PLACEMENTS = ("cached-ram", "cached-disk")


def train(recipe: Recipe, folder: Path, progress: Any) -> tuple[dict[str, torch.Tensor], StageResult]:
    bridge = load_bridge(recipe, device="cpu", states_folder=folder / "states")
    result = run_stage(bridge, tiny_run.TinySource(), recipe, folder, name="align", progress=progress)
    return trained_weights(bridge), result


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_stage_learns_what_it_would_with_a_resident_encoder(models: Path, tmp_path: Path, placement: str) -> None:
    resident, expected = train(tiny_run.make_recipe(models), tmp_path / "resident", NoProgress())
    cached, result = train(tiny_run.make_recipe(models, f"encoder.placement={placement}"), tmp_path / "cached", NoProgress())
    assert (result.steps, result.tokens, result.loss_tokens) == (expected.steps, expected.tokens, expected.loss_tokens)
    assert result.loss == pytest.approx(expected.loss, abs=1e-5)
    assert all(torch.allclose(cached[name], weight, atol=1e-4) for name, weight in resident.items())


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_interrupted_and_resumed_it_ends_with_the_same_bits(models: Path, tmp_path: Path, placement: str) -> None:
    """Epochs pass, so that the texts of the step it stopped at are not the first to be read again."""
    recipe = tiny_run.make_recipe(models, f"encoder.placement={placement}", "align.checkpoint_every=5")
    expected, _ = train(recipe, tmp_path / "undisturbed", NoProgress())
    with pytest.raises(StoppedBySignal):
        train(recipe, tmp_path / "resumed", Recorder(send_at(7)))
    found, _ = train(recipe, tmp_path / "resumed", NoProgress())
    assert_same(found, expected)
    assert metrics(tmp_path / "resumed") == metrics(tmp_path / "undisturbed")


def test_where_memory_runs_out_texts_are_read_in_smaller_batches(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bridge = load_bridge(tiny_run.make_recipe(models, "encoder.placement=cached-ram"), device="cpu")
    states = bridge.states
    assert states is not None
    rows = [row for row in tiny_run.TinySource(30).rows(0, range(30)) if row is not None]
    forward = Encoder.forward
    sizes = []

    def scarce(self: Encoder, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        sizes.append(ids.numel())
        if ids.numel() > 50:
            raise MemoryError
        return forward(self, ids, mask)

    monkeypatch.setattr(Encoder, "forward", scarce)
    notes: list[str] = []
    encode_ahead(states, rows, notes.append)
    assert notes
    assert max(sizes) > 50
    assert all(states.store.find(row.encoder_ids) is not None for row in rows)


@pytest.mark.parametrize("finished", [0, 3, 7])
def test_each_of_several_processes_reads_what_it_trains_on(finished: int) -> None:
    source = tiny_run.TinySource(60)
    shape = SequenceShape(has_bos=True, has_eos=True, latents=None)
    plan = StepPlan(shape, has_llm_bos=True, tokens_per_step=120, tokens_per_micro_batch=60, seed=5, pool_rows=30)
    steps = list(islice(iterate_steps(source, plan), 12))
    assert len({(step.position.epoch, step.position.pool) for step in steps}) > 2
    expected = steps[finished:]
    read: list[list[list[Row]]] = []
    for rank in range(2):
        of_rank: list[list[Row]] = []
        processes = cast("Processes", SimpleNamespace(alone=False, rank=rank, size=2))
        found = list(encoded_steps(source, plan, expected[0].position, len(expected), of_rank.append, processes))  # type: ignore[arg-type]
        assert found == expected
        for step in expected:
            own = deal_rows(step.micro_batches, 2, plan.packed_length)[rank]
            texts = {row.encoder_ids for rows in of_rank for row in rows}
            assert all(row.encoder_ids in texts for rows in own for row in rows)
        read.append(of_rank)
    # A pool that is begun in the middle is read from its first step on, and each process reads about half of it.
    here = expected[0].position
    pool = [step for step in steps if (step.position.epoch, step.position.pool) == (here.epoch, here.pool)]
    rows_of_pool = sum(len(rows) for step in pool for rows in step.micro_batches)
    first, second = (len(of_rank[0]) for of_rank in read)
    assert first + second == rows_of_pool
    assert abs(first - second) <= rows_of_pool / 3
