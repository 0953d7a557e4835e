"""Text files: every compression, encoding and line end gives the same lines, and every fault is one line."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest

from lilift.data.text_files import read_lines
from lilift.recipe.errors import DataError

LINES = ["héllo", "", "wörld\u2028one line", "\x85 and \x0b too"]
TEXT = "\n".join(LINES) + "\n"


def zstandard(content: bytes) -> bytes:
    return bytes(pyarrow.compress(content, codec="zstd", asbytes=True))


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "Zstandard": zstandard,
}


def lines(path: Path) -> list[str]:
    return [text for _, text in read_lines(path, recode=True)]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_every_form_of_a_text_gives_the_same_lines(tmp_path: Path, compression: str, encoding: str, end: str) -> None:
    path = tmp_path / "text"
    path.write_bytes(COMPRESSIONS[compression](TEXT.replace("\n", end).encode(encoding)))
    assert lines(path) == LINES


def test_big_endian_and_long_texts_are_recoded_whole(tmp_path: Path) -> None:
    path = tmp_path / "text"
    many = [f"ligne {number} 😀" for number in range(20_000)]
    path.write_bytes(b"\xfe\xff" + "\n".join(many).encode("utf-16-be"))
    assert lines(path) == many


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "Zstandard"])
def test_a_compressed_file_that_is_cut_short_says_so(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "text"
    content = COMPRESSIONS[kind]("".join(f"{number * number}\n" for number in range(50_000)).encode())
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"text:\d+: the {kind} file is cut short or damaged; download it again"):
        lines(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one\ncaf\xe9\n", "text:2: the line is not UTF-8 text"),
        (b"one\n" + b"x" * (2 << 20), "text:2: a line is longer than 1 MiB"),
        (b"PK\x03\x04 and more", "text: the file is a zip archive"),
        ("ab".encode("utf-16") + b"\x00\xd8a\x00", "text:1: the line is not UTF-8 text"),
    ],
)
def test_a_fault_is_one_line_with_its_place(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "text").write_bytes(content)
    with pytest.raises(DataError, match=message):
        lines(tmp_path / "text")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_the_first_letters_show_utf_16_without_a_mark(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "text").write_bytes("question\né\n".encode(encoding))
    assert lines(tmp_path / "text") == ["question", "é"]


def test_other_encodings_are_refused_unless_asked_for(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes("a\n".encode("utf-16"))
    with pytest.raises(DataError, match="the file is UTF-16, not UTF-8 text"):
        list(read_lines(tmp_path / "text"))
