"""Memory that runs out in the middle of a step: at every place where a step allocates, and at a hundred places of one run."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lilift.memory.guard import OutOfMemoryGuard
from lilift.model.assemble_bridge import attach_lora, load_bridge
from lilift.model.bridge import BridgedModel
from lilift.train import loop
from lilift.train.optimizer import allocate_state, build_optimizer
from lilift.train.step import compute_gradients
from lilift.train.training_progress import NoProgress
from tests.train import tiny_run

ROWS = [row for row in tiny_run.TinySource(8).rows(0, range(8)) if row is not None]


class Failing(TorchDispatchMode):
    """Lets operators run out of memory where they would make a new tensor.

    Args:
        fails: whether the allocation of this number fails.
    """

    def __init__(self, fails: Callable[[int], bool]) -> None:
        super().__init__()
        self.fails = fails
        self.allocations = 0

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):  # type: ignore[no-untyped-def]
        result = operation(*arguments, **(keywords or {}))
        if allocates(operation):
            self.allocations += 1
            if self.fails(self.allocations - 1):
                del result
                raise torch.OutOfMemoryError("CUDA out of memory (injected)")
        return result


@cache
def allocates(operation: torch._ops.OpOverload) -> bool:
    """Whether it returns what is no view of, and is not, something that it was given."""
    return any(returned.alias_info is None and "Tensor" in str(returned.type) for returned in operation._schema.returns)


def prepared(models: Path, stage: str, *overrides: str) -> tuple[BridgedModel, list[torch.nn.Parameter], Any]:
    recipe = tiny_run.make_recipe(models, "transfer.lora.dropout=0", "transfer.lora.rank=4", *overrides)
    bridge = load_bridge(recipe, device="cpu")
    if stage == "transfer":
        attach_lora(bridge, recipe.transfer.lora)
        bridge.train_only("adapter")
    else:
        bridge.train_only("alignment")
    bridge.train()
    trained = {name: parameter for name, parameter in bridge.named_parameters() if parameter.requires_grad}
    return bridge, list(trained.values()), build_optimizer(trained, getattr(recipe, stage))


def take(bridge: BridgedModel, parameters: list[torch.nn.Parameter], optimizer: Any) -> list[Tensor]:
    """One whole step, and the gradients that it applied."""
    guard = OutOfMemoryGuard(lambda _line: None)
    guard.retry(lambda: allocate_state(optimizer))
    compute_gradients(bridge, [ROWS[:2], ROWS[2:3]], parameters, loss_tokens=11, max_grad_norm=0.5, guard=guard)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return gradients


def flat(parameters: list[torch.nn.Parameter]) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


def joined(gradients: list[Tensor]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])


def assert_rounding_apart(found: Tensor, expected: Tensor, moved: Tensor) -> None:
    """Equal up to rounding, measured by `moved`: where a gradient is next to nothing, Adam's step has a rounding's sign."""
    assert torch.isfinite(found).all()
    assert (found - expected).norm() <= 2e-3 * moved.norm()


@pytest.fixture
def shallow(models: Path, tmp_path: Path) -> Path:
    """The tiny models with one layer each: a step that allocates a few hundred times."""
    for name, layers in (("encoder", "num_layers"), ("llm", "num_hidden_layers")):
        shutil.copytree(models / name, tmp_path / name)
        path = tmp_path / name / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), layers: 1}), encoding="utf-8")
    return tmp_path


@pytest.mark.usefixtures("few_objects")
@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("stage", ["align", "transfer"])
def test_a_failure_at_any_allocation_of_a_step_changes_nothing(shallow: Path, stage: str, every: int) -> None:
    """Every third one, or every single one, in a first micro-batch of two rows and in a second one beside its gradients."""
    bridge, parameters, optimizer = prepared(shallow, stage)
    start = [parameter.detach().clone() for parameter in parameters]

    def again() -> None:
        with torch.no_grad():
            for parameter, value in zip(parameters, start, strict=True):
                parameter.copy_(value)
                parameter.grad = None
        optimizer.state.clear()

    with Failing(lambda _number: False) as counter:
        expected = take(bridge, parameters, optimizer)
    after = flat(parameters)
    for site in range(0, counter.allocations, every):
        again()
        with Failing(lambda number, site=site: number == site):  # type: ignore[misc]
            found = take(bridge, parameters, optimizer)
        assert_rounding_apart(joined(found), joined(expected), joined(expected))
        assert_rounding_apart(flat(parameters), after, after - torch.cat([value.flatten() for value in start]))


@pytest.mark.usefixtures("few_objects")
def test_a_hundred_failures_in_one_run_leave_the_weights_that_none_would(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_run.make_recipe(
        models, "align.max_steps=20", "align.tokens_per_step=150", "align.learning_rate=0.001", "align.weight_decay=0"
    )
    undisturbed, expected = tiny_run.train(recipe, tmp_path / "undisturbed", "align", NoProgress())
    rng = random.Random(0)
    failures: list[int] = []
    spared = [0]  # allocations after a failure that succeed: what is tried again must come through at last
    gradients = loop.compute_gradients

    def disturbed(*arguments: Any, **keywords: Any) -> Any:
        def fails(number: int) -> bool:
            spared[0] -= 1
            if len(failures) == 100 or spared[0] > 0 or rng.random() > 0.01:
                return False
            failures.append(number)
            spared[0] = 600
            return True

        with Failing(fails):
            return gradients(*arguments, **keywords)

    monkeypatch.setattr(loop, "compute_gradients", disturbed)
    bridge, result = tiny_run.train(recipe, tmp_path / "disturbed", "align", NoProgress())
    assert len(failures) == 100
    assert (result.steps, result.tokens, result.loss_tokens) == (expected.steps, expected.tokens, expected.loss_tokens)
    found, wanted = (flat(list(one.alignment.parameters())) for one in (bridge, undisturbed))
    fresh = load_bridge(recipe, device="cpu")
    assert_rounding_apart(found, wanted, wanted - flat(list(fresh.alignment.parameters())))


def test_the_budget_that_was_found_is_kept_over_an_interruption(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed run must not find out anew, and must split what the first one split."""
    loss = BridgedModel.loss
    sizes: list[int] = []

    def scarce(self: BridgedModel, batch: Any, **keywords: Any) -> Tensor:
        sizes.append(batch.mask.numel())
        if batch.mask.numel() > 40:
            raise MemoryError
        return loss(self, batch, **keywords)

    monkeypatch.setattr(BridgedModel, "loss", scarce)
    notes: list[str] = []

    class Progress(NoProgress):
        def note(self, text: str) -> None:
            notes.append(text)

        def detail(self, text: str) -> None:
            notes.append(text)

        def step(self, report: Any) -> None:
            if report.step == 4 and not any("stop" in note for note in notes):
                notes.append("stop")
                raise KeyboardInterrupt

    recipe = tiny_run.make_recipe(models)
    with pytest.raises(KeyboardInterrupt):
        tiny_run.train(recipe, tmp_path, "align", Progress())
    assert any("memory ran out" in note for note in notes)
    assert max(sizes) > 40
    sizes.clear()
    tiny_run.train(recipe, tmp_path, "align", Progress())
    assert max(sizes) <= 40
