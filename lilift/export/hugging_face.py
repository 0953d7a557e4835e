"""Writes merged weights as a Hugging Face folder: safetensors shards, and every other file of the base byte for byte."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np

from lilift.export.llm_folder import read_config
from lilift.export.safetensors_headers import INDEX, WHOLE_NUMBERS
from lilift.export.safetensors_rows import Floats
from lilift.recipe.schema import Dtype

SHARD_BYTES = 2 * 1024**3
_WEIGHT_FILES = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx")
_STORED_AS = {"float32": ("F32", 4), "bfloat16": ("BF16", 2), "float16": ("F16", 2)}


class HuggingFaceFolder:
    """A model folder that receives its weights in the order of `shapes`, in chunks of rows.

    Args:
        folder: an empty folder.
        base: the base model's folder; its other files are copied.
        shapes: its tensors.
        dtype: the precision of the weights on disk.
        whole_numbers: the types of tensors that hold no weights but integers or truth values; they keep these.
    """

    def __init__(
        self,
        folder: Path,
        base: Path,
        shapes: Mapping[str, tuple[int, ...]],
        dtype: Dtype,
        whole_numbers: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.base, self.shapes, self.dtype = folder, base, shapes, dtype
        self._whole_numbers = whole_numbers or {}
        self._kind, self._element_bytes = _STORED_AS[dtype]
        self._shards = self._planned_shards()
        self._file_of: dict[str, IO[bytes]] = {}
        self._starts: dict[str, int] = {}
        self._left = {name: math.prod(shape) for name, shape in shapes.items()}

    @property
    def nbytes(self) -> int:
        return sum(map(self._size_of, self.shapes))

    def open(self, stack: ExitStack) -> HuggingFaceFolder:
        """Copy the other files and open the shards; `stack` closes them."""
        _copy_other_files(self.base, self.folder, self.dtype)
        for name, names in self._shards.items():
            file = stack.enter_context((self.folder / name).open("wb"))
            file.write(self._header(names))
            self._file_of.update(dict.fromkeys(names, file))
        if len(self._shards) > 1:
            weight_map = {name: shard for shard, names in self._shards.items() for name in names}
            index = {"metadata": {"total_size": self.nbytes}, "weight_map": weight_map}
            (self.folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        return self

    def write(self, name: str, rows: Floats) -> None:
        """Add rows to the tensor `name`."""
        file = self._file_of[name]
        self._starts.setdefault(name, file.tell())
        # Not `tofile`: its error does not say that the disk is full.
        file.write(np.ascontiguousarray(rows).data if name in self._whole_numbers else _in_precision(rows, self.dtype).data)
        self._left[name] -= rows.size
        if self._left[name] < 0:
            raise ValueError(f"{name} has more rows than planned")

    def restart(self, name: str) -> None:
        """Forget the rows of `name`, the tensor that is being written or was written last."""
        if name in self._starts:
            self._file_of[name].seek(self._starts[name])
            self._left[name] = math.prod(self.shapes[name])

    def _size_of(self, name: str) -> int:
        kind = self._whole_numbers.get(name)
        return math.prod(self.shapes[name]) * (self._element_bytes if kind is None else WHOLE_NUMBERS[kind])

    def _planned_shards(self) -> dict[str, list[str]]:
        """The tensors of each shard, by the file names that Hugging Face tools look for."""
        shards: list[list[str]] = [[]]
        size = 0
        for name in self.shapes:
            nbytes = self._size_of(name)
            if shards[-1] and size + nbytes > SHARD_BYTES:
                shards.append([])
                size = 0
            shards[-1].append(name)
            size += nbytes
        if len(shards) == 1:
            return {"model.safetensors": shards[0]}
        return {f"model-{index:05d}-of-{len(shards):05d}.safetensors": names for index, names in enumerate(shards, start=1)}

    def _header(self, names: Sequence[str]) -> bytes:
        """The header of a safetensors file: https://huggingface.co/docs/safetensors."""
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        at = 0
        for name in names:
            end = at + self._size_of(name)
            kind = self._whole_numbers.get(name, self._kind)
            header[name] = {"dtype": kind, "shape": list(self.shapes[name]), "data_offsets": [at, end]}
            at = end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text


def _in_precision(rows: Floats, dtype: Dtype) -> np.ndarray[Any, Any]:
    if dtype == "float32":
        return np.ascontiguousarray(rows, dtype="<f4")
    if dtype == "float16":
        return np.ascontiguousarray(rows, dtype="<f2")
    # bfloat16 is the upper half of float32, rounded to nearest, ties to even.
    bits = np.ascontiguousarray(rows, dtype="<f4").view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(rows), 0x7FC0, rounded).astype("<u2")


def _copy_other_files(base: Path, folder: Path, dtype: Dtype) -> None:
    """Copy tokenizer and other files byte for byte, and write the configuration with the new precision."""
    for path in sorted(base.iterdir()):
        is_weight = path.suffix in _WEIGHT_FILES or path.name.endswith(".index.json")
        if path.is_file() and not is_weight and not path.name.startswith("."):
            shutil.copyfile(path, folder / path.name)  # content only: a read-only source must not make a read-only copy
    config = read_config(folder)
    config.pop("quantization_config", None)
    config.pop("torch_dtype", None)
    if (config.get("pad_token_id") or 0) >= config.get("vocab_size", math.inf):
        config["pad_token_id"] = None  # transformers builds no model with such a padding token
    (folder / "config.json").write_text(json.dumps(config | {"dtype": dtype}, indent=2) + "\n", encoding="utf-8")
