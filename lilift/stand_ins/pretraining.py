"""The training loop of both stand-ins: AdamW, with a linear warm-up and a cosine decay to zero."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def train(
    parameters: Sequence[nn.Parameter],
    loss_of_step: Callable[[], Tensor],
    *,
    steps: int,
    learning_rate: float,
    label: str,
) -> tuple[float, float]:
    """Minimise `loss_of_step` and return (mean loss of the last hundred steps, seconds)."""
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    warm_up = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warm_up, 0.5 * (1 + math.cos(math.pi * max(0, step - warm_up) / (steps - warm_up)))),
    )
    started = time.monotonic()
    losses: list[float] = []
    for step in range(steps):
        loss = loss_of_step()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if (step + 1) % 200 == 0:
            print(f"{label} {step + 1}/{steps} loss {mean(losses[-100:]):.4f} {time.monotonic() - started:.0f} s", flush=True)
    return mean(losses[-100:]), time.monotonic() - started


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def pad(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    """Pad rows on the right with `value`; the result is [B, T]."""
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])
