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
from typing import Protocol

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

BLOCK = 64
"""Columns of room after each call of `rebuild`."""


class FixedMemory(Protocol):
    """Memory in which a cache of the same shape always has the same place, so that a recorded step finds it there."""

    def shape(self, rows: int, columns: int) -> tuple[int, int]:
        """Rows and width of the cache in which `rows` rows use `columns` columns: at least as many, with room for more."""

    def tensor(self, name: tuple[int, str], like: Tensor, rows: int, width: int) -> Tensor:
        """A tensor [rows, H, width, D] without NaN, with H, D and precision of `like`. It may hold old values."""


class _Layer(DynamicLayer):  # type: ignore[misc]  # transformers is not typed
    """One layer's keys and values, each [R, H, W, D], of which the first `columns` of W are in use.

    R is the number of rows, and in a `FixedMemory` may be larger. Every layer keeps every column, also a layer with a sliding
    window. The mask hides the columns outside the window.
    """

    keys: Tensor
    values: Tensor
    columns = 0
    column: Tensor | None = None
    """While a step is recorded: the column [1] that it writes. Such a step returns all columns, and the mask hides the rest."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Write new columns [B, H, Q, D] and return all columns in use."""
        if self.column is not None:
            self.keys.index_copy_(2, self.column, key_states)
            self.values.index_copy_(2, self.column, value_states)
            return self.keys, self.values
        if self.columns == 0:
            self.dtype, self.device = key_states.dtype, key_states.device
            self.keys, self.values = key_states, value_states
            self.is_initialized = True
            self.columns = key_states.shape[-2]
            return key_states, value_states
        rows, end = key_states.shape[0], self.columns + key_states.shape[-2]
        self.keys[:rows, :, self.columns : end] = key_states
        self.values[:rows, :, self.columns : end] = value_states
        self.columns = end
        return self.keys[:rows, :, :end], self.values[:rows, :, :end]

    def get_seq_length(self) -> int:
        """Columns in use, under the name that transformers calls."""
        return self.columns

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the mask that a step of `query_length` columns needs."""
        return self.columns + query_length, 0

    def rebuild(
        self, keep: Tensor, columns: int, width: int, added: Sequence[_Layer], fixed: FixedMemory | None, place: int
    ) -> None:
        """See `KeyValueCache.rebuild`; `place` is the number of this layer."""
        rows = keep.shape[0] + sum(layer.keys.shape[0] for layer in added)
        for name in ("keys", "values"):
            old: Tensor = getattr(self, name)
            # The last `columns` columns in use, or all if there are fewer.
            used = min(columns, self.columns)
            kept = old[:, :, self.columns - used : self.columns].index_select(0, keep) if keep.shape[0] else None
            if fixed is None:
                # Zeros, because a NaN from uninitialised memory would stay a NaN behind the mask.
                new = old.new_zeros(rows, old.shape[1], width, old.shape[3])
            else:
                new = fixed.tensor((place, name), old, fixed.shape(rows, columns)[0], width)
            if kept is not None:
                new[: keep.shape[0], :, columns - used : columns] = kept
            first = keep.shape[0]
            for layer in added:
                one: Tensor = getattr(layer, name)
                new[first : first + one.shape[0], :, columns - one.shape[2] : columns] = one
                first += one.shape[0]
            setattr(self, name, new)
        self.columns = columns


class KeyValueCache(Cache):  # type: ignore[misc]  # transformers is not typed
    """A cache that transformers' models write to.

    It starts empty. The first forward pass gives it rows and columns; after that `rebuild` makes room.

    Args:
        fixed: where `rebuild` puts keys and values; without it, it allocates new memory.
    """

    def __init__(self, fixed: FixedMemory | None = None) -> None:
        super().__init__(layer_class_to_replicate=_Layer)
        self._fixed = fixed

    @property
    def room(self) -> int:
        """How many tokens fit before the next call of `rebuild`."""
        layer = self.layers[0]
        width: int = layer.keys.shape[2]
        return width - int(layer.columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width of the memory for keys and values."""
        keys = self.layers[0].keys
        return int(keys.shape[0]), int(keys.shape[2])

    def write_to(self, column: Tensor | None) -> None:
        """Let the next steps write to the column [1] and read all columns; None ends this."""
        for layer in self.layers:
            layer.column = column

    def crop(self, columns: int) -> None:
        """Say that the first columns are in use. The next tokens overwrite the others."""
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
        width = columns + (BLOCK if room is None else room)
        if self._fixed is not None and room is None:
            rows = len(keep) + sum(cache.layers[0].keys.shape[0] for cache in added)
            width = self._fixed.shape(rows, columns)[1]
        device = self.layers[0].keys.device
        chosen = torch.tensor(keep, dtype=torch.long, device=device)
        for place, layer in enumerate(self.layers):
            layer.rebuild(chosen, columns, width, [cache.layers[place] for cache in added], self._fixed, place)
            for cache in added:
                cache.layers[place] = None  # so that memory holds the copies of one layer at a time
