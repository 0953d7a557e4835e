"""Reads the safetensors files of a model folder row by row, without torch and without mapping files into memory.

Each page of a mapped file that a process reads counts as its memory, so a 7B model would seem to take 14 GB. With plain reads
the peak is one chunk.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lilift.recipe.errors import ModelError

Floats = npt.NDArray[np.float32]
INDEX = "model.safetensors.index.json"
CHUNK_ELEMENTS = 1024**2  # 4 MB in float32; the work on a chunk takes a few times as much, and freed memory leaves gaps
_HEADER_LIMIT = 100 * 1024**2
_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
# Masks and positions that some models keep beside their weights. Smaller integers are the codes of quantised weights.
WHOLE_NUMBERS: dict[str, np.dtype[Any]] = {"BOOL": np.dtype("?"), "I64": np.dtype("<i8")}


class QuantisedWeights(ModelError):
    """The weights of a model are already quantised, so that lilift cannot merge an adapter into them."""


@dataclass(frozen=True)
class StoredTensor:
    """The place of a tensor on disk. A scalar has the shape () and one row.

    Attributes:
        path: its file.
        dtype: the type of its elements, as numpy reads them.
        kind: their type, as the file names it.
        shape: its shape.
        offset: its first byte.
    """

    path: Path
    dtype: np.dtype[Any]
    kind: str
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


class SafetensorsFolder:
    """The tensors of a folder with safetensors files.

    Args:
        folder: a model's or an adapter's folder. If it has an index, lilift reads only the shards of the index, because some
            models have the same weights twice.

    Raises:
        ModelError: there are no weights, a shard is missing or incomplete, or the weights are quantised.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tensors: dict[str, StoredTensor] = {}
        for path in weight_files(folder):
            self.tensors.update(_read_header(path))

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor, in the order of the files."""
        return {name: stored.shape for name, stored in self.tensors.items()}

    def shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name].shape

    def rows(self, name: str, start: int = 0, stop: int | None = None) -> Floats:
        """Rows `start` to `stop` of a tensor in float32, ``[stop - start, ...]``; for a vector, its elements; of a scalar, one.

        Integers and truth values keep their type, although the type of the result does not say so.

        Raises:
            ModelError: the file cannot be read.
        """
        stored = self.tensors[name]
        stop = (stored.shape or (1,))[0] if stop is None else stop
        width = math.prod(stored.shape[1:])
        try:
            with stored.path.open("rb") as file:
                file.seek(stored.offset + start * width * stored.dtype.itemsize)
                values = np.fromfile(file, stored.dtype, (stop - start) * width)
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


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder.

    Raises:
        ModelError: there are none, or a file of the index is missing.
    """
    index = folder / INDEX
    if index.is_file():
        try:
            names = sorted(set(map(Path, json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())))
        except (ValueError, KeyError, AttributeError, TypeError):
            raise ModelError("the index of the weights is damaged", where=index, remedy="download the model again") from None
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise ModelError(f"a file of the weights is missing: {missing[0]}", where=folder, remedy="download the model again")
        return [folder / name for name in names]
    files = [folder / "model.safetensors"] if (folder / "model.safetensors").is_file() else sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(
            "the folder has no safetensors weights", where=folder, remedy="choose a revision that has safetensors files"
        )
    return files


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


def check_storage_type(tensor: str, stored: str, where: Path | str) -> np.dtype[Any]:
    """The type of a tensor's elements on disk, from its name in the header; bfloat16 comes as its 16 bits.

    Raises:
        QuantisedWeights: the tensor is quantised.
    """
    dtype = (_DTYPES | WHOLE_NUMBERS).get(stored)
    if dtype is None:
        raise QuantisedWeights(
            f"{tensor} is stored as {stored}, so this model is already quantised",
            where=where,
            remedy="use the original 16-bit model",
        )
    return dtype


def _read_header(path: Path) -> dict[str, StoredTensor]:
    """Every tensor of one file; lilift checks that each lies inside the file."""

    def damaged(reason: str) -> ModelError:
        return ModelError(f"lilift cannot read the weights ({reason})", where=path, remedy="download the model again")

    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= _HEADER_LIMIT:
                raise damaged("the file has no safetensors header")
            header = json.loads(file.read(length))
            size = file.seek(0, 2)
    except OSError as error:
        raise damaged(error.strerror or "unknown reason") from error
    except ValueError:
        raise damaged("the header of the file is damaged") from None
    found = {}
    try:
        entries = {
            name: (str(one["dtype"]), *one["data_offsets"], one["shape"])
            for name, one in header.items()
            if name != "__metadata__"
        }
    except (AttributeError, KeyError, TypeError):
        raise damaged("the header of the file is damaged") from None
    for name, (kind, begin, end, shape) in entries.items():
        dtype = check_storage_type(name, kind, path)
        stored = StoredTensor(path, dtype, kind, tuple(shape), 8 + length + begin)
        if end - begin != stored.size * dtype.itemsize or 8 + length + end > size:
            raise damaged(f"{name} is incomplete")
        found[name] = stored
    return found
