"""AdamW in three sizes, its learning rate over the steps, and its state as plain tensors.

`adamw` keeps 8 bytes for each trained parameter. `adamw_8bit` keeps 2, because it quantises the moments in blocks (Dettmers et
al. 2022, arXiv 2110.02861). On a GPU, `paged_adamw_8bit` can also move these 2 bytes to host memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_scheduler

from lilift.recipe.errors import RunFolderError
from lilift.recipe.schema import StageSettings

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8
_SCHEDULES = {"constant": "constant_with_warmup", "cosine": "cosine"}


def build_optimizer(trained: Mapping[str, nn.Parameter], settings: StageSettings) -> Optimizer:
    """The recipe's optimizer over `trained`, in its order.

    Weight decay acts only on matrices. It would pull a bias, a normalisation weight or a learned boundary vector to zero, and
    these have no reason to be small.
    """
    matrices = [parameter for parameter in trained.values() if parameter.ndim >= 2]
    vectors = [parameter for parameter in trained.values() if parameter.ndim < 2]
    groups: list[dict[str, Any]] = [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in ((matrices, settings.weight_decay), (vectors, 0.0))
        if parameters
    ]
    if settings.optimizer == "adamw":
        # The fused version needs no temporary tensors, so that a step happens completely or not at all.
        return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=_BETAS, eps=_EPSILON, fused=True)
    from lilift.model.training_libraries import bitsandbytes

    # On a CPU nothing can move to host memory: the paged optimizer would work as the other one does, and warn.
    paged = settings.optimizer == "paged_adamw_8bit" and any(parameter.is_cuda for parameter in trained.values())
    kind = bitsandbytes.optim.PagedAdamW8bit if paged else bitsandbytes.optim.AdamW8bit
    optimizer: Optimizer = kind(groups, lr=settings.learning_rate, betas=_BETAS, eps=_EPSILON)
    return optimizer


def build_schedule(optimizer: Optimizer, settings: StageSettings, *, total_steps: int, done_steps: int) -> LambdaLR:
    """The learning rate over the steps. It rises from 0 during the warm-up, then stays, or falls to 0 along a cosine.

    Args:
        optimizer: its groups follow the schedule; they must still have the recipe's learning rate.
        settings: the stage's section of the recipe.
        total_steps: optimizer steps of the whole stage.
        done_steps: steps that a checkpoint already contains. The next rate depends on nothing else.
    """
    schedule: LambdaLR = get_scheduler(
        _SCHEDULES[settings.schedule],
        optimizer,
        num_warmup_steps=math.ceil(settings.warmup_ratio * total_steps),
        num_training_steps=total_steps,
    )
    schedule.last_epoch = done_steps
    rates = [base * factor(done_steps) for base, factor in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)]
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    schedule._last_lr = rates
    return schedule


def allocate_state(optimizer: Optimizer) -> None:
    """Allocate the missing buffers, so that no step has to. You may call it again after memory ran out."""
    for group_index, group in enumerate(optimizer.param_groups):
        for index, parameter in enumerate(group["params"]):
            if optimizer.state[parameter]:
                continue
            try:
                _allocate_one(optimizer, group, (group_index, index), parameter)
            except BaseException:
                optimizer.state[parameter].clear()
                raise


def take_step(optimizer: Optimizer, schedule: LambdaLR) -> None:
    """Apply the gradients, advance the learning rate, and drop the gradients."""
    optimizer.step()
    schedule.step()
    optimizer.zero_grad(set_to_none=True)


def optimizer_state(
    optimizer: Optimizer, trained: Mapping[str, nn.Parameter]
) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """The optimizer's state by parameter name.

    Returns:
        Tensors on the CPU under ``key/parameter`` (moments, and for 8 bits their maps and block maxima), and the plain numbers
        by parameter. Parameters without a step so far are missing.
    """
    if any(parameter.is_cuda for parameter in trained.values()):
        torch.cuda.synchronize()  # the GPU may still write to paged state in host memory
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, dict[str, Any]] = {}
    for name, parameter in trained.items():
        state = optimizer.state.get(parameter)
        if not state:
            continue
        numbers[name] = {key: value for key, value in state.items() if not isinstance(value, Tensor)}
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"{key}/{name}"] = value.detach().cpu().clone()
    return tensors, numbers


def restore_optimizer(
    optimizer: Optimizer,
    trained: Mapping[str, nn.Parameter],
    tensors: Mapping[str, Tensor],
    numbers: Mapping[str, Mapping[str, Any]],
) -> None:
    """Restore the state from `optimizer_state` in a fresh optimizer over the same parameters.

    Raises:
        RunFolderError: the state belongs to other parameters or to another kind of optimizer.
    """
    names = {id(parameter): name for name, parameter in trained.items()}
    by_name: dict[str, dict[str, Tensor]] = {}
    for place, tensor in tensors.items():
        key, _, name = place.partition("/")
        by_name.setdefault(name, {})[key] = tensor
    if not by_name.keys() <= trained.keys():
        raise RunFolderError("the optimizer's state belongs to other parameters than this stage trains")
    with torch.no_grad():
        for group_index, group in enumerate(optimizer.param_groups):
            for index, parameter in enumerate(group["params"]):
                name = names[id(parameter)]
                if name in by_name:
                    _restore_one(optimizer, group, (group_index, index), parameter, by_name[name])
                    optimizer.state[parameter].update(numbers[name])


def _restore_one(
    optimizer: Optimizer, group: dict[str, Any], place: tuple[int, int], parameter: nn.Parameter, saved: Mapping[str, Tensor]
) -> None:
    state = _allocate_one(optimizer, group, place, parameter)
    buffers = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    if buffers.keys() != saved.keys() or any(value.shape != saved[key].shape for key, value in buffers.items()):
        raise RunFolderError("the optimizer's state belongs to another kind of optimizer")
    for key, value in buffers.items():
        value.copy_(saved[key])


def _allocate_one(
    optimizer: Optimizer, group: dict[str, Any], place: tuple[int, int], parameter: nn.Parameter
) -> dict[str, Any]:
    state: dict[str, Any] = optimizer.state[parameter]
    if hasattr(optimizer, "init_state"):
        optimizer.init_state(group, parameter, *place)  # bitsandbytes allocates its own buffers, also paged ones
    else:
        state["step"] = torch.zeros((), device=parameter.device)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
    return state
