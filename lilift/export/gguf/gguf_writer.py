"""Writes a GGUF file from beginning to end, chunk by chunk, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGML_QUANT_VERSION, GGMLQuantizationType, GGUFWriter, LlamaFileType
from gguf.quants import quantize

from lilift.export.safetensors_rows import Floats

# The types that lilift writes itself; llama.cpp's own quantiser makes the other types from these.
DIRECT: Mapping[str, tuple[GGMLQuantizationType, LlamaFileType]] = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0),
}
ALIGNMENT = 32  # bytes; GGUF's default


@dataclass(frozen=True)
class PlannedTensor:
    """One tensor of a GGUF file.

    Attributes:
        name: its name in GGUF.
        shape: its shape in the order of numpy, rows first.
        type: how its elements are stored.
        source: its name in the model folder.
    """

    name: str
    shape: tuple[int, ...]
    type: GGMLQuantizationType
    source: str

    @property
    def nbytes(self) -> int:
        block, size = GGML_QUANT_SIZES[self.type]
        return math.prod(self.shape) // block * size


def storage_type(quantisation: str, name: str, shape: tuple[int, ...]) -> GGMLQuantizationType:
    """How a quantisation stores a weight, with the same choice as llama.cpp's own converter.

    Vectors, norms and position biases stay in float32. In 4-bit files the embeddings and the output head have 8 bits, because
    errors cost most there. Rows that are not a multiple of the type's block size are stored in float16.
    """
    wanted, _ = DIRECT[quantisation]
    if len(shape) == 1 or name.endswith("_norm.weight") or "rel_b" in name:
        return GGMLQuantizationType.F32
    if wanted == GGMLQuantizationType.Q4_0 and name in ("token_embd.weight", "output.weight"):
        wanted = GGMLQuantizationType.Q8_0
    block, _ = GGML_QUANT_SIZES[wanted]
    return wanted if shape[-1] % block == 0 else GGMLQuantizationType.F16


class StreamedGGUF:
    """A GGUF file that receives its tensors in the planned order, each in chunks of rows.

    Args:
        path: the file; its name should show that it is not complete yet.
        writer: holds the metadata and no tensors.
        tensors: the planned tensors of the file.
        quantisation: one of `DIRECT`.
    """

    def __init__(self, path: Path, writer: GGUFWriter, tensors: Sequence[PlannedTensor], quantisation: str) -> None:
        self.path = path
        self._writer = writer
        self._tensors = list(tensors)
        self._next = 0  # index of the tensor that is being written
        self._written = 0  # bytes of this tensor so far
        self._starts: dict[str, int] = {}
        writer.add_file_type(int(DIRECT[quantisation][1]))
        writer.add_quantization_version(GGML_QUANT_VERSION)
        for tensor in tensors:
            # The writer keeps the shape as it is if the element type is not uint8.
            writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.nbytes, raw_dtype=tensor.type)

    @contextmanager
    def opened(self) -> Iterator[StreamedGGUF]:
        """Write everything before the tensors, and close the file at the end.

        Raises:
            ValueError: a tensor has not arrived completely.
        """
        self._writer.write_header_to_file(self.path)
        self._writer.write_kv_data_to_file()
        self._writer.write_ti_data_to_file()
        try:
            self._pad()
            yield self
            if self._next != len(self._tensors) or self._written:
                raise ValueError(f"{self.path.name} is incomplete: {len(self._tensors) - self._next} tensors are missing")
        finally:
            self._writer.close()

    def write(self, name: str, rows: Floats) -> None:
        """Add rows to the tensor `name`, which must be the next one of the plan."""
        tensor = self._tensors[self._next]
        if tensor.name != name:
            raise ValueError(f"got the tensor {name} instead of {tensor.name}")
        self._starts.setdefault(name, self._file.tell())
        stored = quantize(np.ascontiguousarray(rows, dtype=np.float32), tensor.type)
        # Not `tofile`: its error does not say that the disk is full.
        self._file.write(np.ascontiguousarray(stored).data)
        self._written += stored.nbytes
        if self._written >= tensor.nbytes:
            if self._written > tensor.nbytes:
                raise ValueError(f"{name} has more rows than planned")
            self._next, self._written = self._next + 1, 0
            self._pad()

    def restart(self, name: str) -> None:
        """Forget the rows of the tensor `name`: the one that is being written, or the last complete one."""
        if name in self._starts:
            self._file.seek(self._starts[name])
            self._next = next(index for index, tensor in enumerate(self._tensors) if tensor.name == name)
            self._written = 0

    @property
    def _file(self):  # type: ignore[no-untyped-def]
        assert self._writer.fout is not None
        return self._writer.fout[0]

    def _pad(self) -> None:
        self._file.write(bytes(-self._file.tell() % ALIGNMENT))


def planned_size(tensors: Sequence[PlannedTensor]) -> int:
    """Size in bytes of all tensors of a file, without its metadata."""
    return sum(-(-tensor.nbytes // ALIGNMENT) * ALIGNMENT for tensor in tensors)
