"""In float16 the loss is scaled: small gradients survive, and one that overflows is computed again with a smaller factor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lilift.data.batches.batching import Batch
from lilift.memory.guard import OutOfMemoryGuard
from lilift.model.assemble_bridge import load_bridge
from lilift.train.loss_scale import PER_TOKEN, loss_scales
from lilift.train.step import StepOutcome, compute_gradients
from tests.train import tiny_run
from tests.train.test_step import Line

ROWS = [row for row in tiny_run.TinySource(4).rows(0, range(4)) if row is not None]


class Half(Line):
    """Its loss has a gradient of `slope`, which passes through float16 on its way back."""

    def __init__(self, slope: float, dtype: torch.dtype = torch.float16) -> None:
        super().__init__()
        self.frozen = nn.Parameter(torch.ones(1, dtype=dtype), requires_grad=False)
        self.slope = slope
        self.passes = 0

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        yield from (("weight", self.weight), ("frozen", self.frozen))

    def loss(self, batch: Batch, *, num_items: int | None = None) -> Tensor:  # noqa: ARG002
        self.passes += 1
        # The factor after the cast is what a backward pass meets first.
        return (self.weight.to(self.frozen.dtype) * self.frozen).float().sum() * self.slope


def step(model: Half) -> StepOutcome:
    guard = OutOfMemoryGuard(lambda _line: None)
    return compute_gradients(model, [ROWS], [model.weight], loss_tokens=4096, max_grad_norm=1e9, guard=guard)


def gradient(model: Half) -> Sequence[float]:
    assert model.weight.grad is not None
    found: list[float] = model.weight.grad.tolist()
    return found


def test_a_gradient_too_small_for_float16_survives() -> None:
    slope = 2.0**-30  # the smallest number of float16 is 2**-24
    model = Half(slope)
    assert step(model).finite
    assert gradient(model) == [slope] * 3
    assert model.passes == 1


@pytest.mark.parametrize(("slope", "passes"), [(0.5, 2), (2.0**10, 5)])
def test_a_gradient_that_overflows_is_computed_again_with_a_smaller_factor(slope: float, passes: int) -> None:
    model = Half(slope)
    assert step(model).finite
    assert gradient(model) == [slope] * 3
    assert model.passes == passes


def test_what_no_factor_makes_finite_stays_as_it_is_for_the_trainer_to_refuse() -> None:
    model = Half(2.0**24)
    assert not step(model).finite
    model = Half(float("nan"))
    assert not step(model).finite
    assert model.passes == 1  # a smaller factor does not help a loss that is not finite


def test_other_number_types_are_not_scaled() -> None:
    weights = [torch.zeros(1, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    assert list(loss_scales(weights, 100)) == [1.0]
    assert next(loss_scales([*weights, torch.zeros(1, dtype=torch.float16)], 100)) == 128 * PER_TOKEN


def test_a_float16_llm_gets_the_gradients_of_a_float32_one(models: Path) -> None:
    found = {}
    for dtype in ("float32", "float16"):
        recipe = tiny_run.make_recipe(models, f"llm.dtype={dtype}", "encoder.dtype=float32")
        bridge = load_bridge(recipe, device="cpu")
        bridge.train_only("alignment")
        guard = OutOfMemoryGuard(lambda _line: None)
        parameters = list(bridge.alignment.parameters())
        # So many tokens in the step that a gradient without a factor would be nothing.
        outcome = compute_gradients(bridge, [ROWS], parameters, loss_tokens=10**7, max_grad_norm=1e9, guard=guard)
        assert outcome.finite
        found[dtype] = torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.grad is not None])
    difference = (found["float16"] - found["float32"]).norm() / found["float32"].norm()
    assert difference < 0.05  # float16's own rounding; without a factor all of it would be lost
