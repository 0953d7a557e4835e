"""Reads the safetensors files of a model folder row by row, without torch and without mapping files into memory.

Each page of a mapped file that a process reads counts as its memory, so a 7B model would seem to take 14 GB. With plain reads
the peak is one chunk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lilift.export.safetensors_headers import WHOLE_NUMBERS, SafetensorsHeaders
from lilift.recipe.errors import ModelError

Floats = npt.NDArray[np.float32]
CHUNK_ELEMENTS = 1024**2  # 4 MB in float32; the work on a chunk takes a few times as much, and freed memory leaves gaps
# How numpy reads the types of the files; bfloat16 comes as its 16 bits.
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "BOOL": "?", "I64": "<i8"}


class SafetensorsFolder(SafetensorsHeaders):
    """The tensors of a folder with safetensors files; see `SafetensorsHeaders`."""

    def rows(self, name: str, start: int = 0, stop: int | None = None) -> Floats:
        """Rows `start` to `stop` of a tensor in float32, ``[stop - start, ...]``; for a vector, its elements; of a scalar, one.

        Integers and truth values keep their type, although the type of the result does not say so.

        Raises:
            ModelError: the file cannot be read.
        """
        stored = self.tensors[name]
        stop = (stored.shape or (1,))[0] if stop is None else stop
        width, dtype = math.prod(stored.shape[1:]), np.dtype(_DTYPES[stored.kind])
        try:
            with stored.path.open("rb") as file:
                file.seek(stored.offset + start * width * dtype.itemsize)
                values = np.fromfile(file, dtype, (stop - start) * width)
        except OSError as error:
            raise ModelError(
                f"lilift cannot read the file ({error.strerror})",
                where=stored.path,
                remedy="check the disk and its permissions",
            ) from error
        if stored.kind in WHOLE_NUMBERS:
            return values.reshape(stop - start, *stored.shape[1:])
        if stored.kind == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32, copy=False).reshape(stop - start, *stored.shape[1:])


def row_chunks(shape: tuple[int, ...], multiple: int = 1, *, halvings: int = 0) -> Iterator[tuple[int, int]]:
    """Ranges of rows that cover a tensor, each of bounded size and, except the last, with a multiple of `multiple` rows.

    Args:
        shape: shape of the tensor.
        multiple: each chunk has a multiple of this many rows.
        halvings: how often the usual size is halved.
    """
    width = max(1, math.prod(shape[1:]))
    step = max(1, (CHUNK_ELEMENTS >> halvings) // width // multiple) * multiple
    rows = (shape or (1,))[0]
    for start in range(0, rows, step):
        yield start, min(start + step, rows)
