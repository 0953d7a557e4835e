"""Reads what safetensors files say about their tensors: names, types and shapes, not the values.

`lilift recipe validate` reads every recipe's models here, so this module imports no numpy.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from lilift.recipe.errors import ModelError

INDEX = "model.safetensors.index.json"
_HEADER_LIMIT = 100 * 1024**2
# Bytes of an element, by the file's name of its type.
_FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
WHOLE_NUMBERS = {"BOOL": 1, "I64": 8}
"""Masks and positions that some models keep beside their weights. Smaller integers are the codes of quantised weights."""


class QuantisedWeights(ModelError):
    """The weights of a model are already quantised, so that lilift cannot merge an adapter into them."""


@dataclass(frozen=True)
class StoredTensor:
    """The place of a tensor on disk. A scalar has the shape () and one row.

    Attributes:
        path: its file.
        kind: the type of its elements, as the file names it.
        shape: its shape.
        offset: its first byte.
    """

    path: Path
    kind: str
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


class SafetensorsHeaders:
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


def element_bytes(tensor: str, kind: str, where: Path | str) -> int:
    """The bytes of one of a tensor's elements on disk.

    Args:
        tensor: its name.
        kind: the type of its elements, as the file names it.
        where: the file or model, for errors.

    Raises:
        QuantisedWeights: the tensor is quantised.
    """
    found = (_FLOATS | WHOLE_NUMBERS).get(kind)
    if found is None:
        raise QuantisedWeights(
            f"{tensor} is stored as {kind}, so this model is already quantised",
            where=where,
            remedy="use the original 16-bit model",
        )
    return found


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
        stored = StoredTensor(path, kind, tuple(shape), 8 + length + begin)
        if end - begin != stored.size * element_bytes(name, kind, path) or 8 + length + end > size:
            raise damaged(f"{name} is incomplete")
        found[name] = stored
    return found
