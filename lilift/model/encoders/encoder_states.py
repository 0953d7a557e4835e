"""Encoder states that lilift keeps in place of the encoder, so that the LLM has the card to itself.

A frozen encoder gives a text the same states each time. If `encoder.placement` is not ``resident``, the encoder waits in host
memory. It moves to the card, reads the texts of the next few thousand rows, and leaves again. Steps then take the kept states.
lilift computes a text's states once and keeps them in the encoder's own precision. They differ from those of a resident encoder
only by the rounding of another batch.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lilift.model.encoders.encoder import Encoder, load_encoder
from lilift.recipe.schema import EncoderLayers, EncoderSettings
from lilift.recipe.storage import whole_file

TokenIds = tuple[int, ...]
BATCH_TOKENS = 4096
"""Encoder tokens in one batch, padding included."""
_KEY_BYTES = 16
_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


class StateStore(Protocol):
    """Keeps states until a step needs them."""

    def lacking(self, texts: Sequence[TokenIds]) -> list[TokenIds]:
        """The texts whose states the caller must compute and add, without repetitions and in their order."""

    def add(self, text: TokenIds, states: Tensor) -> None:
        """Keep the states [S, E] (or [S, L + 1, E]) of a text if there is room for them."""

    def flush(self) -> None:
        """Make what was added durable."""

    def find(self, text: TokenIds) -> Tensor | None:
        """States [S, E] of a text; None if the store does not have them."""

    def leave_to_others(self, texts: Iterable[TokenIds]) -> None:
        """Lack these texts no longer: this process or another one computes their states."""


class StatesInMemory:
    """States of the latest texts, in host memory.

    Each call of `lacking` starts anew. So the batches of texts do not depend on earlier calls, and a resumed run gets exactly
    the states of an uninterrupted run.

    Args:
        limit_bytes: the store keeps at most this much.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit, self._used = limit_bytes, 0
        self._states: dict[TokenIds, Tensor] = {}

    def lacking(self, texts: Sequence[TokenIds]) -> list[TokenIds]:
        """All of them, without repetitions; the store forgets what it kept before."""
        self._states, self._used = {}, 0
        return list(dict.fromkeys(texts))

    def add(self, text: TokenIds, states: Tensor) -> None:
        """Keep the states [S, E] of a text if there is room for them."""
        if self._used + states.nbytes <= self._limit:
            self._states[text] = states
            self._used += states.nbytes

    def flush(self) -> None:
        """Do nothing: host memory needs no flush."""

    def find(self, text: TokenIds) -> Tensor | None:
        """States [S, E] of a text; None if the store does not have them."""
        return self._states.get(text)

    def leave_to_others(self, texts: Iterable[TokenIds]) -> None:
        """Do nothing: each call of `lacking` starts anew."""


class StatesOnDisk:
    """States in safetensors files, one file for each call of `flush`. They survive an interruption.

    Several processes may fill a folder.

    Args:
        folder: holds the files; created if it is missing. lilift deletes unreadable files and computes their states again.
        limit_bytes: the store keeps at most this much.

    Raises:
        StorageError: lilift cannot write to the folder.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder, self._limit, self._used = folder, limit_bytes, 0
        self._left_to_others: set[bytes] = set()
        self._files: list[_StatesFile] = []
        self._index: dict[bytes, tuple[int, int, int, int]] = {}  # file, first and last token, checksum
        self._added: dict[TokenIds, Tensor] = {}
        for path in sorted(folder.glob("states-*.safetensors")):
            self._open(path)

    def lacking(self, texts: Sequence[TokenIds]) -> list[TokenIds]:
        """The texts whose states are in no file, without repetitions."""
        known = self._index.keys() | self._left_to_others
        return [text for text in dict.fromkeys(texts) if _key(text) not in known]

    def leave_to_others(self, texts: Iterable[TokenIds]) -> None:
        """Lack these texts no longer: this process or another one computes their states."""
        self._left_to_others.update(map(_key, texts))

    def add(self, text: TokenIds, states: Tensor) -> None:
        """Keep the states [S, E] of a text if there is room for them."""
        if self._used + states.nbytes <= self._limit:
            self._added[text] = states
            self._used += states.nbytes

    def flush(self) -> None:
        """Write what was added since the last call to a new file. The file appears complete or not at all.

        Raises:
            StorageError: lilift cannot write the file.
        """
        if not self._added:
            return
        lengths = [states.shape[0] for states in self._added.values()]
        content = {
            "keys": torch.frombuffer(bytearray(b"".join(map(_key, self._added))), dtype=torch.uint8).view(-1, _KEY_BYTES),
            "ends": torch.tensor(lengths).cumsum(0),
            "checksums": torch.tensor([_checksum(states) for states in self._added.values()]),
            "states": torch.cat(list(self._added.values())),
        }
        path = self._folder / f"states-{uuid.uuid4().hex}.safetensors"  # a name that no other process takes
        with whole_file(path) as partial:
            save_file(content, partial)
        self._added = {}
        self._used -= content["states"].nbytes  # `_open` counts it
        self._open(path)

    def find(self, text: TokenIds) -> Tensor | None:
        """States [S, E] of a text; None if the store does not have them, or if the file changed since it was written."""
        if text in self._added:
            return self._added[text]
        place = self._index.get(_key(text))
        if place is None:
            return None
        file, start, end, checksum = place
        states = self._files[file].rows(start, end)
        return states if states is not None and _checksum(states) == checksum else None

    def _open(self, path: Path) -> None:
        try:
            with safe_open(path, framework="pt") as file:
                keys, ends, checksums = (file.get_tensor(name) for name in ("keys", "ends", "checksums"))
            states = _StatesFile(path)
            self._used += path.stat().st_size
        except (SafetensorError, OSError):
            path.unlink(missing_ok=True)
            return
        start = 0
        for key, end, checksum in zip(keys.numpy(), ends.tolist(), checksums.tolist(), strict=True):
            self._index[key.tobytes()] = (len(self._files), start, end, checksum)
            start = end
        self._files.append(states)


class _StatesFile:
    """The states in one file, read without mapping it: mapped pages would count as memory of the process, one after another.

    Raises:
        OSError: lilift cannot read the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        header_bytes = int.from_bytes(self._file.read(8), "little")
        stored: dict[str, Any] = json.loads(self._file.read(header_bytes))["states"]
        self._dtype, self._row = _DTYPES[stored["dtype"]], stored["shape"][1:]
        self._row_bytes = math.prod(self._row) * self._dtype.itemsize
        self._begin = 8 + header_bytes + stored["data_offsets"][0]

    def rows(self, start: int, stop: int) -> Tensor | None:
        """Rows `start` to `stop`, [stop - start, E] or [stop - start, L + 1, E]; None if the file has become shorter."""
        content = bytearray((stop - start) * self._row_bytes)
        self._file.seek(self._begin + start * self._row_bytes)
        if self._file.readinto(content) != len(content):
            return None
        return torch.frombuffer(content, dtype=self._dtype).view(stop - start, *self._row)


class EncoderStates:
    """An encoder that waits in host memory, and the states of texts that it has read.

    Args:
        encoder: on the CPU.
        store: keeps states.
        device: the encoder reads here.
    """

    def __init__(self, encoder: Encoder, store: StateStore, device: torch.device) -> None:
        self.encoder, self.store, self.device = encoder, store, device

    def batches(self, texts: Sequence[TokenIds]) -> list[list[TokenIds]]:
        """The texts that the encoder still has to read, in batches of similar length."""
        batches: list[list[TokenIds]] = []
        for text in sorted(self.store.lacking(texts), key=len):
            if batches and (len(batches[-1]) + 1) * len(text) <= BATCH_TOKENS:
                batches[-1].append(text)
            else:
                batches.append([text])
        return batches

    def read(self, texts: Sequence[TokenIds]) -> None:
        """Read texts in one batch, and keep their states."""
        for text, states in zip(texts, self._states_of(texts), strict=True):
            self.store.add(text, states)

    def padded(self, texts: Sequence[TokenIds]) -> Tensor:
        """What the encoder gives, on the CPU, zero at padding. If the store lacks a text, the encoder reads it now."""
        found = {text: self.store.find(text) for text in texts}
        late = [text for text, states in found.items() if states is None]
        if late:
            with self.encoder_on_card():
                found |= dict(zip(late, self._states_of(late), strict=True))
        return pad_sequence([states for text in texts if (states := found[text]) is not None], batch_first=True)

    @contextmanager
    def encoder_on_card(self) -> Iterator[None]:
        """Keep the encoder on the card while the block runs. If it does not fit, it stays on the CPU and reads slowly."""
        if self.device.type == "cpu":
            yield
            return
        try:
            try:
                self.encoder.to(self.device)
            except torch.OutOfMemoryError:
                self.encoder.to("cpu")
            yield
        finally:
            self.encoder.to("cpu")
            torch.cuda.empty_cache()

    def _states_of(self, texts: Sequence[TokenIds]) -> list[Tensor]:
        """States [S, E] of each text, on the CPU."""
        lengths = [len(text) for text in texts]
        ids = torch.full((len(texts), max(lengths)), self.encoder.tokenizer.pad_id)  # [B, S]
        for row, text in enumerate(texts):
            ids[row, : len(text)] = torch.tensor(text)
        mask = torch.arange(max(lengths))[None, :] < torch.tensor(lengths)[:, None]
        states = self.encoder(ids.to(self.encoder.device), mask.to(self.encoder.device)).cpu()  # [B, S, E]
        return [states[row, :length].clone() for row, length in enumerate(lengths)]


def load_encoder_states(
    settings: EncoderSettings, *, device: torch.device, folder: Path | None, layers: EncoderLayers = "last"
) -> EncoderStates:
    """Load a recipe's encoder that does not stay on the card.

    Args:
        settings: the recipe's section `encoder`.
        device: the encoder reads here.
        folder: keeps states if the settings want them on the disk; without it they stay in host memory.
        layers: the recipe's setting `alignment.layers`.

    Raises:
        ModelError: see `load_encoder`.
    """
    encoder = load_encoder(settings, device=torch.device("cpu"), layers=layers)
    limit = int(settings.cache_gib * 2**30)
    if settings.placement == "cached-disk" and folder is not None:
        return EncoderStates(encoder, StatesOnDisk(folder, limit), device)
    return EncoderStates(encoder, StatesInMemory(limit), device)


def _key(text: TokenIds) -> bytes:
    return hashlib.blake2b(",".join(map(str, text)).encode(), digest_size=_KEY_BYTES).digest()


def _checksum(states: Tensor) -> int:
    return zlib.crc32(states.contiguous().view(torch.uint8).numpy().tobytes())
