"""One optimizer step: gradients, their norm, and micro-batches that add up to one batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lilift.data.batches.batching import Batch, SequenceShape, collate
from lilift.data.texts.examples import Row
from lilift.memory.guard import OutOfMemoryGuard
from lilift.model.assemble_bridge import load_bridge
from lilift.model.bridge import BridgedModel
from lilift.train.randomness import deterministic
from lilift.train.step import StepOutcome, compute_gradients
from tests.train import tiny_run


@pytest.fixture(scope="module")
def bridge(models: Path) -> BridgedModel:
    bridge = load_bridge(tiny_run.make_recipe(models), device="cpu")
    bridge.train_only("alignment")
    return bridge


ROWS = [row for row in tiny_run.TinySource(12).rows(0, range(12)) if row is not None]


def guard() -> OutOfMemoryGuard:
    return OutOfMemoryGuard(lambda _line: None)


def gradients(bridge: BridgedModel, groups: Sequence[Sequence[Row]], max_grad_norm: float = 1e9) -> tuple[StepOutcome, Tensor]:
    parameters = list(bridge.alignment.parameters())
    bridge.zero_grad()
    outcome = compute_gradients(
        bridge,
        groups,
        parameters,
        loss_tokens=sum(len(row.response_ids) for rows in groups for row in rows),
        max_grad_norm=max_grad_norm,
        guard=guard(),
    )
    return outcome, torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.grad is not None])


def test_how_a_step_is_split_changes_nothing_but_rounding(bridge: BridgedModel) -> None:
    whole, expected = gradients(bridge, [ROWS])
    split, found = gradients(bridge, [ROWS[:1], ROWS[1:4], ROWS[4:]])  # micro-batches of very unequal size
    assert split.loss == pytest.approx(whole.loss, rel=1e-6)
    assert split.grad_norm == pytest.approx(whole.grad_norm, rel=1e-5)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    assert (split.tokens, split.loss_tokens) == (whole.tokens, whole.loss_tokens)
    assert whole.loss_tokens == sum(len(row.response_ids) for row in ROWS)


def test_no_step_reads_memory_that_nobody_has_set(bridge: BridgedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    _, expected = gradients(bridge, [ROWS])
    with deterministic(torch.device("cpu")), monkeypatch.context() as patch:
        patch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
        assert torch.empty(3).isnan().all(), "torch fills new memory with numbers that nobody overlooks"
        _, found = gradients(bridge, [ROWS])
    assert torch.equal(found, expected)


def test_the_loss_is_the_mean_over_tokens(bridge: BridgedModel) -> None:
    alone = [bridge.loss(bridge.collate([row])).item() * len(row.response_ids) for row in ROWS]
    outcome, _ = gradients(bridge, [ROWS[:5], ROWS[5:]])
    assert outcome.loss == pytest.approx(sum(alone) / sum(len(row.response_ids) for row in ROWS), rel=1e-5)


def test_clipping_scales_the_whole_gradient_and_reports_its_norm_from_before(bridge: BridgedModel) -> None:
    free, gradient = gradients(bridge, [ROWS])
    assert free.grad_norm == pytest.approx(gradient.norm().item(), rel=1e-5)
    limit = free.grad_norm / 4
    clipped, scaled = gradients(bridge, [ROWS], max_grad_norm=limit)
    assert clipped.grad_norm == pytest.approx(free.grad_norm, rel=1e-6)
    torch.testing.assert_close(scaled, gradient / 4, rtol=1e-4, atol=1e-8)


class CountWaits(TorchDispatchMode):
    """Counts reads of a tensor's value, each of which would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):  # type: ignore[no-untyped-def]
        self.waits += operation is torch.ops.aten._local_scalar_dense.default
        return operation(*arguments, **(keywords or {}))


class Line:
    """A model without any wait of its own."""

    def __init__(self) -> None:
        self.weight = nn.Parameter(torch.ones(3))

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        yield "weight", self.weight

    def collate(self, rows: Sequence[Row]) -> Batch:
        return collate(rows, SequenceShape(has_bos=False, has_eos=False, latents=None), llm_bos=None, encoder_pad=0)

    def padded_tokens(self, rows: Sequence[Row]) -> int:
        return len(rows)

    def loss(self, batch: Batch, *, num_items: int | None = None) -> Tensor:
        return (self.weight.sum() * batch.text_ids.sum()) / (num_items or 1)


def test_micro_batches_do_not_wait_for_the_device() -> None:
    batches = [[row] for row in ROWS]
    counts = []
    for number in (1, 2, len(batches)):
        model = Line()
        with CountWaits() as counter:
            compute_gradients(model, batches[:number], [model.weight], loss_tokens=9, max_grad_norm=1.0, guard=guard())
        counts.append(counter.waits)
    assert len(set(counts)) == 1


@pytest.mark.parametrize(
    ("loss", "norm", "finite"),
    [(1.0, 1.0, True), (math.nan, 1.0, False), (1.0, math.inf, False), (math.inf, 1.0, False), (1.0, math.nan, False)],
)
def test_only_a_finite_step_may_be_applied(loss: float, norm: float, finite: bool) -> None:
    assert StepOutcome(loss, norm, 1, 1).finite is finite


def test_a_step_without_micro_batches_is_refused() -> None:
    model = Line()
    with pytest.raises(ValueError, match="at least one micro-batch"):
        compute_gradients(model, [], [model.weight], loss_tokens=0, max_grad_norm=1.0, guard=guard())
