"""Finds the GPU or the processor of this machine, and its memory."""

from __future__ import annotations

from dataclasses import dataclass

import psutil
import torch

from lilift.recipe.errors import EnvironmentUnfit
from lilift.recipe.schema import Card

# The first GPUs with bfloat16 in hardware. Older ones only emulate it, many times slower.
FIRST_WITH_BFLOAT16 = (8, 0)


@dataclass(frozen=True)
class Device:
    """The device that a run computes on.

    Attributes:
        kind: ``cuda`` or ``cpu``.
        name: the name of the GPU or processor.
        total_bytes: memory of the GPU, or of the host if there is no GPU.
        free_bytes: the part of this memory that is free now.
        capability: the GPU's compute capability, such as (8, 6); None without a GPU.
        index: the number of the GPU, if this process is one of several with a GPU each.
    """

    kind: str
    name: str
    total_bytes: int
    free_bytes: int
    capability: tuple[int, int] | None = None
    index: int = 0

    @property
    def has_bfloat16(self) -> bool:
        """Whether the device computes in bfloat16. ``torch.cuda.is_bf16_supported()`` also counts GPUs that only emulate it."""
        return self.capability is None or self.capability >= FIRST_WITH_BFLOAT16

    @property
    def torch_device(self) -> torch.device:
        # `cuda` without a number is the current GPU for torch, but the first one where weights are read from a file.
        return torch.device(self.kind, self.index) if self.index else torch.device(self.kind)


def find_device() -> Device:
    """The current CUDA GPU (the first one, or that of this process among several), or this machine's processor."""
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        index = torch.cuda.current_device()
        return Device("cuda", torch.cuda.get_device_name(), total, free, torch.cuda.get_device_capability(), index)
    memory = psutil.virtual_memory()
    return Device("cpu", "CPU", memory.total, memory.available)


def cap_memory(allocatable_bytes: int, device: Device) -> None:
    """Limit torch's allocator to this much memory of the GPU. The limit does not count the memory of other programs."""
    torch.cuda.set_per_process_memory_fraction(allocatable_bytes / device.total_bytes)


def device_for(card: Card) -> Device:
    """The device that a recipe for `card` runs on.

    Raises:
        EnvironmentUnfit: the recipe needs a GPU and there is none.
    """
    device = find_device()
    if card == "cpu":
        memory = psutil.virtual_memory()
        return Device("cpu", "CPU", memory.total, memory.available)
    if device.kind != "cuda":
        raise EnvironmentUnfit(
            f"this recipe needs a CUDA GPU (card {card}), and lilift found none",
            remedy="see `lilift doctor`, or try `lilift recipe run tiny-cpu`, which needs no GPU",
        )
    return device
