"""A resumed run draws the random numbers that an undisturbed one would draw."""

from __future__ import annotations

import json
import random

import numpy as np
import torch

from lilift.train.randomness import deterministic, random_state, restore_random_state, seed_everything


def draw() -> list[float]:
    # gauss and standard_normal keep a second number back, which is part of their state
    return [random.random(), random.gauss(0, 1), float(np.random.standard_normal()), torch.rand(3).sum().item()]


def test_one_seed_for_all() -> None:
    seed_everything(3)
    first = draw()
    seed_everything(4)
    other = draw()
    seed_everything(3)
    assert draw() == first
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_a_restored_state_draws_the_same() -> None:
    seed_everything(3)
    draw()
    tensors, values = random_state()
    expected = [draw(), draw()]
    restore_random_state(tensors, json.loads(json.dumps(values)))
    assert [draw(), draw()] == expected


def test_determinism_ends_with_its_block() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    with deterministic(torch.device("cpu")):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory, "filling only takes time"  # type: ignore[attr-defined]
    assert torch.are_deterministic_algorithms_enabled() == before
    assert torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    with deterministic(torch.device("cuda")):
        assert torch.are_deterministic_algorithms_enabled() == before
