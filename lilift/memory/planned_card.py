"""The cards that the planner knows, by size or by name.

This module imports no heavy package.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace

from lilift.recipe.errors import EnvironmentUnfit, RecipeError

GIB = 1024**3
MIB = 1024**2
# torch supports expandable segments on Linux, and lilift switches them on there.
EXPANDABLE_SEGMENTS = sys.platform == "linux"
# GiB of a card, including the share of the desktop.
CARD_GIB = {"8gb": 8.0, "12gb": 12.0, "16gb": 16.0, "24gb": 24.0, "32gb": 32.0, "40gb": 40.0, "48gb": 48.0, "80gb": 80.0}
# A Tesla T4, which free notebooks lend. It has 15 GiB, because error correction takes the 16th, and no desktop.
T4_GIB = 15.0
# Names of common cards, and their sizes.
CARD_NAMES = {
    "rtx3060": "12gb",
    "rtx3090": "24gb",
    "rtx4060": "8gb",
    "rtx4060ti": "16gb",
    "rtx4070": "12gb",
    "rtx4080": "16gb",
    "rtx4090": "24gb",
    "rtx5070": "12gb",
    "rtx5080": "16gb",
    "rtx5090": "32gb",
    "l4": "24gb",
    "a10": "24gb",
    "a100": "80gb",
    "h100": "80gb",
}
# Words of a card's full name that say nothing about its memory.
_BESIDE_NAME = re.compile(r"nvidia|geforce|tesla|gpu|pcie|sxm\d?|hbm\d?e?")
_SIZE = re.compile(r"(\d{1,3}(?:\.\d+)?)(g(?:i?b)?)?")
# Host memory of a process besides tensors: Python and its libraries, the prepared data, and the small blocks that the C library
# keeps (measured on whole runs, Linux x86-64; benchmarks/results/cpu_memory.json).
CPU_PROCESS_BYTES = 740 * MIB
# Estimates of a CUDA context with cuBLAS's workspaces, and of a desktop on the same card. A run measures the real sizes.
CUDA_CONTEXT_BYTES = int(0.6 * GIB)
DESKTOP_BYTES = int(0.7 * GIB)
# The vendor's figure for dense float16 products of a T4, and the share of it that training reaches. The share is an estimate: a
# T4 lowers its clock under load to stay within 70 W, and elementwise work takes longer beside its 300 GB/s.
T4_TFLOPS, T4_UTILISATION = 65.0, 0.2
# The driver keeps a small part of every card.
USABLE_SHARE = 0.98
# torch gives each thread that multiplies matrices on a GPU a workspace for cuBLAS, from its own allocator, and never takes it
# back: the main thread, and in training the thread of the backward pass (torch: aten/src/ATen/cuda/CUDABlas.cpp).
CUBLAS_WORKSPACE = int(8.125 * MIB)
CUBLAS_WORKSPACE_ON_HOPPER = 32 * MIB


@dataclass(frozen=True)
class PlannedCard:
    """A card for which lilift makes a plan.

    Attributes:
        name: the name of the card.
        kind: ``cuda`` or ``cpu``.
        total_bytes: its memory.
        usable_bytes: the part that a plan may use.
        context_bytes: the part that is in use before the first tensor.
        expandable_segments: whether torch's allocator uses expandable segments on it.
        gpu: the name of this machine's GPU, if the plan is for that GPU.
        workspace_bytes: cuBLAS's workspace of one thread.
        bfloat16: whether the card has bfloat16 in hardware.
        tflops, utilisation: TFLOP/s of the card and the share that training reaches, if lilift knows this card; None for the
            figures of a common card of its size.
    """

    name: str
    kind: str
    total_bytes: int
    usable_bytes: int
    context_bytes: int
    expandable_segments: bool
    gpu: str | None = None
    workspace_bytes: int = 0
    bfloat16: bool = True
    tflops: float | None = None
    utilisation: float | None = None

    @property
    def allocatable_bytes(self) -> int:
        """The part of the card for torch's allocator."""
        return self.usable_bytes - self.context_bytes


def card_key(text: str) -> str:
    """A card as users write it, in the spelling of `CARD_GIB` and `CARD_NAMES` where lilift knows it.

    NVIDIA's own names are known too (``NVIDIA GeForce RTX 4090``), a size may stand beside a name (``A100-SXM4-80GB``), and a
    bare number is a size in GB. A laptop's card has less memory than the desktop's card of this name, so it needs its size.
    """
    joined = re.sub(r"(\d)\s+(?=gi?b\b)", r"\1", text.lower())
    words = [word for word in re.split(r"[\s_-]+", joined) if word and not _BESIDE_NAME.fullmatch(word)]
    sizes = [found for word in words if (found := _SIZE.fullmatch(word)) and (found[2] or len(words) == 1)]
    return f"{float(sizes[0][1]):g}gb" if sizes else "".join(words)


def card_gib(key: str) -> float | None:
    """The memory of a card in GiB, from `card_key`; None if lilift does not know the card."""
    size = CARD_NAMES.get(key, key)
    return float(size.removesuffix("gb")) if re.fullmatch(r"\d+(?:\.\d+)?gb", size) else None


def unknown_card(text: str, known: Iterable[str]) -> RecipeError:
    """The error for a card that lilift does not know."""
    return RecipeError(
        f"lilift does not know the card {text!r}",
        remedy=f"give its memory, such as 16gb, or one of {', '.join(known)}; `lilift doctor` shows the card of this machine",
    )


def planned_card(name: str) -> PlannedCard:
    """A card by its size or name (``24gb``, ``rtx4090``), this machine's with ``auto``, or ``cpu``.

    Raises:
        RecipeError: there is no such card.
        EnvironmentUnfit: ``auto``, and this machine has no GPU.
    """
    key = card_key(name)
    if key == "cpu":
        import psutil

        total = int(psutil.virtual_memory().total)
        return PlannedCard("cpu", "cpu", total, total, CPU_PROCESS_BYTES, False)
    context = CUDA_CONTEXT_BYTES + DESKTOP_BYTES
    if key == "auto":
        from lilift.memory.device import find_device

        device = find_device()
        if device.kind != "cuda":
            raise EnvironmentUnfit(
                "this machine has no CUDA GPU", where="--card auto", remedy="name a card, such as --card 24gb"
            )
        taken = device.total_bytes - device.free_bytes
        usable = int(USABLE_SHARE * device.total_bytes)
        before = CUDA_CONTEXT_BYTES + taken
        is_t4 = "T4" in device.name.split()
        return PlannedCard(
            device.name,
            "cuda",
            device.total_bytes,
            usable,
            before,
            EXPANDABLE_SEGMENTS,
            device.name,
            _workspace(device.capability),
            bfloat16=device.has_bfloat16,
            tflops=T4_TFLOPS if is_t4 else None,
            utilisation=T4_UTILISATION if is_t4 else None,
        )
    if key == "t4":
        total = int(T4_GIB * GIB)
        usable = int(USABLE_SHARE * total)
        return PlannedCard(
            "t4",
            "cuda",
            total,
            usable,
            CUDA_CONTEXT_BYTES,
            EXPANDABLE_SEGMENTS,
            workspace_bytes=CUBLAS_WORKSPACE,
            bfloat16=False,
            tflops=T4_TFLOPS,
            utilisation=T4_UTILISATION,
        )
    gib = card_gib(key)
    if not gib:
        raise unknown_card(name, [*CARD_NAMES, "t4", "auto", "cpu"])
    total = int(gib * GIB)
    workspace = _workspace((9, 0) if "h100" in name.lower() else (8, 0))
    return PlannedCard(key, "cuda", total, int(USABLE_SHARE * total), context, EXPANDABLE_SEGMENTS, workspace_bytes=workspace)


def _workspace(capability: tuple[int, int] | None) -> int:
    """Bytes of cuBLAS's workspace of one thread on a GPU of this compute capability."""
    return CUBLAS_WORKSPACE_ON_HOPPER if capability == (9, 0) else CUBLAS_WORKSPACE


def limited_card(limit: str) -> PlannedCard:
    """This machine's GPU, limited to the memory of a smaller card.

    Args:
        limit: size or name of the smaller card, or any number of GiB, such as ``22.5gb``.

    Raises:
        RecipeError: the limit is no size and no known card, or it is more than the GPU has free.
        EnvironmentUnfit: this machine has no GPU.
    """
    real = planned_card("auto")
    smaller = planned_card(limit)
    if smaller.kind != "cuda" or smaller.allocatable_bytes > real.allocatable_bytes:
        raise RecipeError(
            f"{limit} is more than {real.name} has free ({real.allocatable_bytes / GIB:.1f} GiB for tensors)",
            where="--memory-limit",
            remedy="leave it out, or name a smaller card",
        )
    return replace(
        real,
        name=f"{limit} of {real.name}",
        total_bytes=smaller.total_bytes,
        usable_bytes=smaller.usable_bytes,
        context_bytes=smaller.context_bytes,
    )


def smallest_card_for(peak_bytes: int) -> str:
    """The size of the smallest card that holds a peak, as text."""
    fitting = (name for name, size in CARD_GIB.items() if USABLE_SHARE * size * GIB >= peak_bytes)
    return next(fitting, f"more than {max(CARD_GIB.values()):.0f} GB")
