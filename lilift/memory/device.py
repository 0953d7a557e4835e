"""What this machine offers: the GPU, its free memory, the host's memory."""

from __future__ import annotations

from dataclasses import dataclass

import psutil
import torch

from lilift.recipe.errors import EnvironmentUnfit
from lilift.recipe.schema import Card


@dataclass(frozen=True)
class Device:
    """Where a run computes.

    Attributes:
        kind: ``cuda`` or ``cpu``.
        name: the GPU's or processor's name.
        total_bytes: memory of the GPU, or of the host where there is none.
        free_bytes: what is free of it now.
    """

    kind: str
    name: str
    total_bytes: int
    free_bytes: int

    @property
    def torch_device(self) -> torch.device:
        return torch.device(self.kind)


def find_device() -> Device:
    """The first CUDA GPU, or this machine's processor."""
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info(0)
        return Device("cuda", torch.cuda.get_device_name(0), total, free)
    memory = psutil.virtual_memory()
    return Device("cpu", "CPU", memory.total, memory.available)


def cap_memory(allocatable_bytes: int, device: Device) -> None:
    """Let torch's allocator take no more of the GPU than this; what other programs take is not seen."""
    torch.cuda.set_per_process_memory_fraction(allocatable_bytes / device.total_bytes)


def device_for(card: Card) -> Device:
    """The device that a recipe for `card` runs on.

    Raises:
        EnvironmentUnfit: the recipe wants a GPU and there is none.
    """
    device = find_device()
    if card == "cpu":
        memory = psutil.virtual_memory()
        return Device("cpu", "CPU", memory.total, memory.available)
    if device.kind != "cuda":
        raise EnvironmentUnfit(
            f"this recipe wants a {card} GPU and no CUDA GPU was found",
            remedy="see `lilift doctor`, or try `lilift recipe run tiny-cpu`, which needs none",
        )
    return device
