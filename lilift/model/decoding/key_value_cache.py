"""Keys and values of rows that an LLM continues side by side. Rows may leave, and others may take their places.

Of transformers' caches, some copy everything for every new token, and the others keep a fixed number of rows. This cache has
room for a block of tokens. lilift rebuilds it when the block is full or the rows change: finished rows and columns that no row
uses go, and new rows come in. Every row ends in the same last column, so that a step writes one column for all rows. The mask
hides the columns to the left of a row.

    row 0   [ · · a a a a a a a |     ]        · masked, never read
    row 1   [ · · · · · b b b b |     ]        | end of the columns in use; to its right, room for the next tokens
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

BLOCK = 64
"""Columns of room after each call of `rebuild`."""


class _Layer(DynamicLayer):  # type: ignore[misc]  # transformers is not typed
    """One layer's keys and values, each [B, H, W, D], of which the first `columns` of W are in use.

    Every layer keeps every column, also a layer with a sliding window. The mask hides the columns outside the window.
    """

    columns = 0

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Write new columns [B, H, Q, D] and return all columns in use."""
        if self.columns == 0:
            self.dtype, self.device = key_states.dtype, key_states.device
            self.keys, self.values = key_states, value_states
            self.is_initialized = True
            self.columns = key_states.shape[-2]
            return key_states, value_states
        end = self.columns + key_states.shape[-2]
        self.keys[:, :, self.columns : end] = key_states
        self.values[:, :, self.columns : end] = value_states
        self.columns = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        """Columns in use, under the name that transformers calls."""
        return self.columns

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the mask that a step of `query_length` columns needs."""
        return self.columns + query_length, 0

    def rebuild(self, keep: Tensor, columns: int, room: int, added: Sequence[_Layer]) -> None:
        """See `KeyValueCache.rebuild`."""
        self.keys = self._rebuilt(self.keys, keep, columns, room, [layer.keys for layer in added])
        self.values = self._rebuilt(self.values, keep, columns, room, [layer.values for layer in added])
        self.columns = columns

    def _rebuilt(self, old: Tensor, keep: Tensor, columns: int, room: int, added: Sequence[Tensor]) -> Tensor:
        rows = keep.shape[0] + sum(len(new) for new in added)
        # Zeros, because a NaN from uninitialised memory would stay a NaN behind the mask.
        new = old.new_zeros(rows, old.shape[1], columns + room, old.shape[3])
        if keep.shape[0]:
            # The last `columns` columns in use, or all if there are fewer.
            kept = min(columns, self.columns)
            new[: keep.shape[0], :, columns - kept : columns] = old[:, :, self.columns - kept : self.columns].index_select(
                0, keep
            )
        first = keep.shape[0]
        for one in added:
            new[first : first + len(one), :, columns - one.shape[2] : columns] = one
            first += len(one)
        return new


class KeyValueCache(Cache):  # type: ignore[misc]  # transformers is not typed
    """A cache that transformers' models write to.

    It starts empty. The first forward pass gives it rows and columns; after that `rebuild` makes room.
    """

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=_Layer)

    @property
    def room(self) -> int:
        """How many tokens fit before the next call of `rebuild`."""
        layer = self.layers[0]
        width: int = layer.keys.shape[2]
        return width - int(layer.columns)

    def crop(self, columns: int) -> None:
        """Forget all but the first columns. The next tokens overwrite the others."""
        for layer in self.layers:
            layer.columns = columns

    def rebuild(
        self, keep: Sequence[int], columns: int, added: Sequence[KeyValueCache] = (), *, room: int | None = None
    ) -> None:
        """Keep some rows and some columns, and add new rows.

        Args:
            keep: the rows that stay, in their new order.
            columns: how many columns are in use afterwards; the left side loses or gains columns.
            added: new rows that follow them, with at most `columns` columns each; do not use them afterwards.
            room: how many columns fit afterwards; by default `BLOCK`.
        """
        room = BLOCK if room is None else room
        device = self.layers[0].keys.device
        chosen = torch.tensor(keep, dtype=torch.long, device=device)
        for place, layer in enumerate(self.layers):
            layer.rebuild(chosen, columns, room, [cache.layers[place] for cache in added])
            for cache in added:
                cache.layers[place] = None  # so that memory holds the copies of one layer at a time
