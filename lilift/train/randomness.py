"""All random generators under one seed, and their states as plain values, so that a resumed run draws the same numbers."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor


def seed_everything(seed: int) -> None:
    """Seed torch (all devices), numpy and Python."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch for one step of one of several processes, so that a checkpoint need not hold the state of each process."""
    digest = hashlib.blake2b(f"{seed} {step} {rank}".encode(), digest_size=8).digest()
    torch.manual_seed(int.from_bytes(digest, "little") >> 1)


def random_state() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state of every generator: torch's as tensors, the others as JSON values."""
    tensors = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors |= {f"cuda{index}": state for index, state in enumerate(torch.cuda.get_rng_state_all())}
    version, numbers, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()
    values = {
        "python": [version, list(numbers), gauss],
        "numpy": [np.asarray(keys).tolist(), int(position), int(has_gauss), float(cached)],
    }
    return tensors, values


def restore_random_state(tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Restore every generator to a state from `random_state`. Generators of GPUs that this machine lacks are skipped."""
    torch.set_rng_state(tensors["cpu"])
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        if f"cuda{index}" in tensors:
            torch.cuda.set_rng_state(tensors[f"cuda{index}"], index)
    version, numbers, gauss = values["python"]
    random.setstate((version, tuple(numbers), gauss))
    keys, position, has_gauss, cached = values["numpy"]
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), position, has_gauss, cached))


@contextlib.contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """On the CPU, let torch use only operations that give the same bits each time.

    On a GPU, results repeat only up to rounding, because the deterministic variants of gather and scatter cost time and memory.

    torch would also write into every new tensor, to reveal code that reads memory before it is set. A test does so
    (`test_no_step_reads_memory_that_nobody_has_set`). In training it would only take time.
    """
    if device.type != "cpu":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fills: Any = torch.utils.deterministic
    filled = fills.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    fills.fill_uninitialized_memory = False
    try:
        yield
    finally:
        fills.fill_uninitialized_memory = filled
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@contextlib.contextmanager
def replayable(device: torch.device) -> Iterator[None]:
    """If the block fails, restore torch's generators, so that the caller can repeat the block."""
    cpu = torch.get_rng_state()
    gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    try:
        yield
    except BaseException:
        torch.set_rng_state(cpu)
        if gpu is not None:
            torch.cuda.set_rng_state(gpu, device)
        raise


@contextlib.contextmanager
def unchanged_randomness(device: torch.device) -> Iterator[None]:
    """Let the block draw random numbers, then restore torch's generators."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
