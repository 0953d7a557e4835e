"""Random starts that depend on a seed alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from the CPU's generator as from a fresh one with `seed`; afterwards it goes on as if nothing had happened.

    Weights are drawn on the CPU and then moved, so a start is the same on every device. The generators of GPUs stay untouched.
    """
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)
