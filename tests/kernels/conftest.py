"""References in plain torch, a watch over allocations, and the choice of Triton."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lilift_kernels import dispatch
from lilift_kernels.loss import vocabulary_tiles as tiles

Loss = Callable[..., Tensor]


@pytest.fixture(scope="session")
def reference_loss() -> Loss:
    """The loss by way of the full logits, in the type of its arguments."""

    def loss(
        hidden: Tensor,
        weight: Tensor,
        labels: Tensor,
        *,
        bias: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        softcap: float | None = None,
        logit_scale: float = 1.0,
        label_smoothing: float = 0.0,
        z_loss: float = 0.0,
        num_items: int | None = None,
        upcast: bool = False,
    ) -> Tensor:
        logits = functional.linear(hidden.reshape(-1, hidden.shape[-1]), weight, bias)
        if upcast:
            logits = logits.float()
        logits = logits * logit_scale
        if softcap is not None:
            logits = softcap * torch.tanh(logits / softcap)
        flat = labels.reshape(-1)
        valid = flat != ignore_index
        losses = functional.cross_entropy(
            logits, flat, ignore_index=ignore_index, reduction="none", label_smoothing=label_smoothing
        )
        losses = losses + z_loss * torch.where(valid, logits.logsumexp(1), 0.0).square()
        if reduction == "none":
            return losses.reshape(labels.shape)
        if reduction == "sum":
            return losses.sum()
        return losses.sum() / (num_items if num_items is not None else valid.sum().clamp(min=1))

    return loss


class AllocationWatch(TorchDispatchMode):
    """Follows the storages that operations make while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self.largest = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = {_storage(leaf)._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._note(_storage(leaf), inputs)
        return result

    def _note(self, storage: torch.UntypedStorage, inputs: set[int]) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known or key in inputs:
            return
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        self.largest = max(self.largest, size)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    return tensor.untyped_storage()


@pytest.fixture
def allocation_watch() -> AllocationWatch:
    return AllocationWatch()


@pytest.fixture
def tiny_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 7 rows against tiles of 16 columns, so that small cases cross every boundary."""
    monkeypatch.setattr(tiles, "CPU_ROWS", 7)
    monkeypatch.setattr(tiles, "CPU_TILE_BYTES", 1)
    monkeypatch.setattr(tiles, "SMALLEST_TILE", 16)


@pytest.fixture
def insist_on_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton runs, or its error shows: torch does not take its place."""
    monkeypatch.setenv(dispatch.SETTING, "triton")
