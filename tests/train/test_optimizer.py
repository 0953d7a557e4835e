"""The optimizers, the schedule of the learning rate, and their saved state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from lilift.recipe.errors import RunFolderError
from lilift.recipe.schema import AlignSettings
from lilift.train.optimizer import build_optimizer, build_schedule, optimizer_state, restore_optimizer, take_step

KINDS = ["adamw", "adamw_8bit", "paged_adamw_8bit"]


def settings(**values: object) -> AlignSettings:
    return AlignSettings.model_validate({"learning_rate": 0.01, **values})


def make_trained() -> dict[str, nn.Parameter]:
    """A matrix large enough for 8-bit moments, a small one, and a vector."""
    torch.manual_seed(0)
    return {
        "layer.weight": nn.Parameter(torch.randn(80, 70)),
        "small.weight": nn.Parameter(torch.randn(5, 4)),
        "bos": nn.Parameter(torch.randn(70)),
    }


def take_steps(trained: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    schedule = build_schedule(optimizer, settings(), total_steps=100, done_steps=first)
    for step in range(first, last):
        generator = torch.Generator().manual_seed(step)
        for parameter in trained.values():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        take_step(optimizer, schedule)


@pytest.mark.parametrize("kind", KINDS)
def test_weight_decay_shrinks_matrices_alone(kind: str) -> None:
    trained = make_trained()
    before = {name: parameter.detach().clone() for name, parameter in trained.items()}
    chosen = settings(optimizer=kind, weight_decay=0.5)
    optimizer = build_optimizer(trained, chosen)
    schedule = build_schedule(optimizer, chosen, total_steps=5, done_steps=0)
    for parameter in trained.values():
        parameter.grad = torch.zeros_like(parameter)
    take_step(optimizer, schedule)
    for name in ("layer.weight", "small.weight"):
        torch.testing.assert_close(trained[name].data, before[name] * (1 - 0.01 * 0.5), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(trained["bos"].data, before["bos"], rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_restored_it_goes_on_bit_for_bit(tmp_path: Path, kind: str) -> None:
    straight = make_trained()
    take_steps(straight, build_optimizer(straight, settings(optimizer=kind)), 0, 9)

    first = make_trained()
    optimizer = build_optimizer(first, settings(optimizer=kind))
    take_steps(first, optimizer, 0, 5)
    tensors, numbers = optimizer_state(optimizer, first)
    save_file(tensors, tmp_path / "optimizer.safetensors")
    numbers = json.loads(json.dumps(numbers))

    second = {name: nn.Parameter(parameter.detach().clone()) for name, parameter in first.items()}
    optimizer = build_optimizer(second, settings(optimizer=kind))
    restore_optimizer(optimizer, second, load_file(tmp_path / "optimizer.safetensors"), numbers)
    take_steps(second, optimizer, 5, 9)
    for name, parameter in straight.items():
        assert torch.equal(parameter, second[name]), name


def test_8_bit_moments_are_kept_in_8_bits_with_their_maps() -> None:
    trained = make_trained()
    optimizer = build_optimizer(trained, settings(optimizer="adamw_8bit"))
    take_steps(trained, optimizer, 0, 1)
    tensors, _ = optimizer_state(optimizer, trained)
    assert tensors["state1/layer.weight"].dtype == torch.uint8
    assert {"qmap1/layer.weight", "qmap2/layer.weight", "absmax1/layer.weight", "absmax2/layer.weight"} <= tensors.keys()


def test_saved_state_does_not_follow_the_optimizer() -> None:
    trained = make_trained()
    optimizer = build_optimizer(trained, settings(optimizer="adamw"))
    take_steps(trained, optimizer, 0, 1)
    tensors, _ = optimizer_state(optimizer, trained)
    before = tensors["exp_avg/layer.weight"].clone()
    take_steps(trained, optimizer, 1, 2)
    assert torch.equal(tensors["exp_avg/layer.weight"], before)


def test_state_of_another_optimizer_or_other_parameters_is_refused() -> None:
    trained = make_trained()
    optimizer = build_optimizer(trained, settings(optimizer="adamw_8bit"))
    take_steps(trained, optimizer, 0, 1)
    tensors, numbers = optimizer_state(optimizer, trained)
    larger = {"layer.weight": nn.Parameter(torch.randn(90, 70))}
    with pytest.raises(RunFolderError, match="other parameters"):
        restore_optimizer(build_optimizer(larger, settings()), larger, tensors, numbers)
    only = {name: tensor for name, tensor in tensors.items() if name.endswith("/layer.weight")}
    with pytest.raises(RunFolderError, match="another kind of optimizer"):
        restore_optimizer(build_optimizer(larger, settings(optimizer="adamw_8bit")), larger, only, numbers)
    plain = build_optimizer(trained, settings(optimizer="adamw"))
    take_steps(trained, plain, 0, 1)
    with pytest.raises(RunFolderError, match="another kind of optimizer"):
        restore_optimizer(build_optimizer(trained, settings(optimizer="adamw_8bit")), trained, *optimizer_state(plain, trained))
    with pytest.raises(RunFolderError, match="another kind of optimizer"):
        restore_optimizer(build_optimizer(trained, settings(optimizer="adamw")), trained, tensors, numbers)


def rates(chosen: AlignSettings, done: int, total: int) -> list[float]:
    trained = make_trained()
    optimizer = build_optimizer(trained, chosen)
    schedule = build_schedule(optimizer, chosen, total_steps=total, done_steps=done)
    found = []
    for _ in range(done, total):
        assert optimizer.param_groups[0]["lr"] == optimizer.param_groups[1]["lr"] == schedule.get_last_lr()[0]
        found.append(schedule.get_last_lr()[0])
        take_step(optimizer, schedule)
    return found


def test_constant_and_cosine_schedules() -> None:
    assert rates(settings(schedule="constant"), 0, 4) == [0.01] * 4
    assert rates(settings(schedule="constant", warmup_ratio=0.4), 0, 5) == [0.0, 0.005, 0.01, 0.01, 0.01]
    assert rates(settings(schedule="cosine"), 0, 4) == pytest.approx([0.01, 0.0085355, 0.005, 0.0014645], rel=1e-4)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_rate_depends_on_the_step_alone(schedule: str) -> None:
    chosen = settings(schedule=schedule, warmup_ratio=0.3)
    whole = rates(chosen, 0, 11)
    for done in (1, 3, 4, 10):
        assert rates(chosen, done, 11) == whole[done:]
