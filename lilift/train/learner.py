"""What training needs of a model; `BridgedModel` has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from torch import Tensor, nn

from lilift.data.batches.batching import Batch
from lilift.data.texts.examples import Row


class Learner(Protocol):
    """A model that can be trained. Training changes exactly the parameters that require gradients."""

    def collate(self, rows: Sequence[Row]) -> Batch:
        """Pack rows into a batch on the CPU."""

    def padded_tokens(self, rows: Sequence[Row]) -> int:
        """Positions of the rows' batch, padding included."""

    def loss(self, batch: Batch, *, num_items: int | None = None) -> Tensor:
        """The sum of the batch's token losses, divided by `num_items`."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Every parameter with its name, always in the same order."""

    def train(self, mode: bool = True) -> object:
        """Switch dropout and the like on or off."""
