"""Checkpoints of a forward pass that wait in host memory, copied while the card computes.

The copy to the host runs beside the next layer's forward pass. In the backward pass, the copy back of one layer's checkpoint
begins when the layer after it begins. So the card holds two checkpoints, and waits for a copy only if the bus is slower.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

LEAST_BYTES = 2**20  # smaller tensors stay on the card


@dataclass(eq=False)
class Waiting:
    """A tensor that is away from the card.

    Attributes:
        place: its position among the tensors that were sent away.
        away: the copy in host memory.
        device: the card.
        back: the copy on the card, once it is on its way back, and the event that ends the copy.
        used: whether the backward pass has had it.
    """

    place: int
    away: Any
    device: torch.device
    back: tuple[Tensor, Any] | None = None
    used: bool = False


class OffloadedCheckpoints(saved_tensors_hooks):
    """Context manager: what autograd saves inside the block waits in host memory. One for each forward and backward pass.

    Parameters and small tensors stay where they are. So does everything on a CPU.
    """

    def __init__(self) -> None:
        super().__init__(self._pack, self._unpack)
        self._sent: list[Waiting] = []
        self._stream: Any = None

    def _pack(self, tensor: Tensor) -> Tensor | Waiting:
        if isinstance(tensor, nn.Parameter) or tensor.nbytes < LEAST_BYTES or not self._leaves(tensor):
            return tensor
        waiting = Waiting(len(self._sent), self._send(tensor), tensor.device)
        self._sent.append(waiting)
        return waiting

    def _unpack(self, kept: Tensor | Waiting) -> Tensor:
        if not isinstance(kept, Waiting):
            return kept
        tensor, copied = self._fetch(kept) if kept.back is None else kept.back
        kept.back, kept.used = None, True
        self._await(tensor, copied)
        # The backward pass needs the tensors in the opposite order.
        before = self._sent[kept.place - 1] if kept.place > 0 else kept
        if not before.used and before.back is None:
            before.back = self._fetch(before)
        return tensor

    def _leaves(self, tensor: Tensor) -> bool:
        return tensor.is_cuda

    def _send(self, tensor: Tensor) -> Any:
        """Begin the copy to the host, in a stream of its own."""
        away = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        side = self._side(tensor.device)
        with torch.cuda.stream(side):
            away.copy_(tensor, non_blocking=True)
        tensor.record_stream(side)
        return away

    def _fetch(self, waiting: Waiting) -> tuple[Tensor, Any]:
        """Begin the copy back."""
        tensor = torch.empty(waiting.away.shape, dtype=waiting.away.dtype, device=waiting.device)
        side = self._side(waiting.device)
        with torch.cuda.stream(side):
            tensor.copy_(waiting.away, non_blocking=True)
        tensor.record_stream(side)
        return tensor, side.record_event()

    def _await(self, tensor: Tensor, copied: Any) -> None:
        """Let the card's own stream wait for the end of a copy."""
        torch.cuda.current_stream(tensor.device).wait_event(copied)

    def _side(self, device: torch.device) -> Any:
        """The stream of the copies, after everything that the card has been told so far."""
        if self._stream is None:
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._stream.wait_stream(torch.cuda.current_stream(device))
        return self._stream
