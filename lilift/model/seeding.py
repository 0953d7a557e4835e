"""Random initial weights that depend on a seed alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the CPU's generator for the block, and give it back its former state afterwards.

    lilift draws weights on the CPU and then moves them, so that they are the same on every device. The generators of GPUs stay
    untouched.
    """
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)
