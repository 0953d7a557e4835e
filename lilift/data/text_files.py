"""Open and read text files: compressed or not, in UTF-8 or UTF-16, with one clear line for every fault.

gzip, bzip2, xz and Zstandard are recognised by the first bytes of a file, never by its name.
"""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from lilift.data.other_formats import require_text_format
from lilift.recipe.errors import DataError

LONGEST_LINE = 1 << 20
"""Bytes of the longest line that is read; a longer one means that the file is no text, or of another format."""
_PEEKED = 1 << 16
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "Zstandard"}
_UTF8_MARK = b"\xef\xbb\xbf"
# UTF-32 first: its mark begins with the mark of UTF-16.
_MARKS = {b"\xff\xfe\x00\x00": "utf-32", b"\x00\x00\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass
class Position:
    """How many lines of a file have been read; error messages name the next one."""

    line: int = 0


def read_lines(path: Path, *, recode: bool = False, any_ending: bool = False) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line, without its ending and without a byte-order mark.

    Lines end with LF or CR LF, or with CR in a file that has no LF at its beginning.

    Args:
        path: the file, compressed or not.
        recode: read UTF-16 and UTF-32 too, instead of refusing them.
        any_ending: a CR within a line ends a line too, as in files that several programs have written.

    Raises:
        DataError: the file is missing, cannot be read, is not UTF-8, is cut short, or has a line of more than 1 MiB.
    """
    with reading(path) as position, open_text(path, recode=recode) as opened:
        for line in _raw_lines(path, opened, position):
            text = line.decode("utf-8").rstrip("\r\n")
            for part in text.split("\r") if any_ending else (text,):
                position.line += 1
                yield position.line, part


def read_raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """As `read_lines`, but the bytes of each line, for files in which some words are not UTF-8.

    Raises:
        DataError: as `read_lines`, except for bytes that are not UTF-8.
    """
    with reading(path) as position, open_text(path, recode=False) as opened:
        for line in _raw_lines(path, opened, position):
            position.line += 1
            yield position.line, line.rstrip(b"\r\n")


def _raw_lines(path: Path, opened: BinaryIO, position: Position) -> Iterator[bytes]:
    stream = _with_line_feeds(opened)
    while line := stream.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise long_line(path, position.line + 1)
        yield line


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Position]:
    """Turn the faults of reading a file into one line each.

    Yields:
        The position that messages name; the caller moves it on.

    Raises:
        DataError: see `read_lines`.
    """
    position = Position()
    try:
        yield position
    except UnicodeDecodeError:
        where = f"{path}:{position.line + 1}"
        raise DataError("the line is not UTF-8 text", where=where, remedy="save the file as UTF-8") from None
    except (EOFError, zlib.error, lzma.LZMAError):
        raise _cut_short(path, position) from None
    except OSError as error:
        if error.strerror is None and _compression(path) is not None:  # bzip2's and Zstandard's own faults
            raise _cut_short(path, position) from None
        raise DataError(f"cannot read the file ({error.strerror or error})", where=path, remedy="check the path") from None


def open_text(path: Path, *, recode: bool = True) -> BinaryIO:
    """The bytes of a text file: decompressed, in UTF-8, without a byte-order mark.

    Args:
        path: the file.
        recode: read UTF-16 and UTF-32 too, instead of refusing them.

    Raises:
        DataError: the file is in UTF-16 or UTF-32 and `recode` is False, or it is a zip archive.
        OSError: it cannot be opened; see `reading`.
    """
    require_text_format(path)
    stream = _decompressed(path)
    first = stream.peek(_PEEKED)[:4]
    if first.startswith(b"PK\x03\x04"):
        raise DataError("the file is a zip archive, not UTF-8 text", where=path, remedy="unpack it")
    encoding = next((name for mark, name in _MARKS.items() if first.startswith(mark)), None) or _unmarked(first)
    if encoding is not None and not recode:
        raise DataError(f"the file is {encoding.upper()}, not UTF-8 text", where=path, remedy="save it as UTF-8 text")
    if encoding is not None:
        return _changed(stream, _recoder(encoding))
    if first.startswith(_UTF8_MARK):
        stream.read(len(_UTF8_MARK))
    return cast(BinaryIO, stream)


def _unmarked(first: bytes) -> str | None:
    """UTF-16 without a mark, if the file begins with two ASCII letters in it."""
    zeros = tuple(byte == 0 for byte in first)
    if zeros == (False, True, False, True):
        return "utf-16-le"
    return "utf-16-be" if zeros == (True, False, True, False) else None


def long_line(path: Path, line: int) -> DataError:
    """The error for a line of more than 1 MiB."""
    return DataError("a line is longer than 1 MiB", where=f"{path}:{line}", remedy="check the file's format")


def _decompressed(path: Path) -> io.BufferedReader:
    kind = _compression(path)
    if kind == "Zstandard":
        import pyarrow

        compressed = pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd")
        return io.BufferedReader(compressed, _PEEKED)
    if kind == "gzip":
        return cast(io.BufferedReader, gzip.open(path, "rb"))
    if kind is not None:
        return cast(io.BufferedReader, bz2.open(path, "rb") if kind == "bzip2" else lzma.open(path, "rb"))
    return cast(io.BufferedReader, path.open("rb", buffering=_PEEKED))


def _compression(path: Path) -> str | None:
    with path.open("rb") as probe:
        first = probe.read(6)
    return next((kind for mark, kind in _COMPRESSED.items() if first.startswith(mark)), None)


def _cut_short(path: Path, position: Position) -> DataError:
    what = f"the {_compression(path) or 'compressed'} file is cut short or damaged"
    return DataError(what, where=f"{path}:{position.line + 1}", remedy="download it again")


def _with_line_feeds(stream: BinaryIO) -> BinaryIO:
    """The same lines, with LF for CR in a file whose lines end with CR alone (Macintosh until 2001)."""
    first = cast(io.BufferedReader, stream).peek(_PEEKED)
    if b"\n" in first or b"\r" not in first[:-1]:
        return stream
    return _changed(stream, lambda block: block.replace(b"\r", b"\n"))


def _recoder(encoding: str) -> Callable[[bytes], bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    return lambda block: decoder.decode(block, final=not block).encode("utf-8")


class _Changed(io.RawIOBase):
    """A stream whose bytes pass through a function, block by block; an empty block marks the end."""

    def __init__(self, stream: BinaryIO, change: Callable[[bytes], bytes]) -> None:
        self._stream, self._change, self._waiting = stream, change, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        while not self._waiting:
            block = self._stream.read(_PEEKED)
            self._waiting = self._change(block)
            if not block:
                break
        count = min(len(buffer), len(self._waiting))
        buffer[:count], self._waiting = self._waiting[:count], self._waiting[count:]
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


def _changed(stream: BinaryIO, change: Callable[[bytes], bytes]) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(_Changed(stream, change), _PEEKED))
