"""Small JSON records that carry a digest of their own content, and digests of the files beside them.

A record of an earlier version of lilift has no digest. lilift reads it and cannot check it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lilift.recipe import storage
from lilift.recipe.errors import RunFolderError
from lilift.recipe.sealed_folders import MANIFEST

_SEAL_OF_TEXT = b"# sha256 of the lines above: "


def write_record(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a record in one motion.

    Raises:
        StorageError: the file cannot be written; the old one is untouched.
    """
    storage.write_json(path, storage.sealed_json(value))


def read_record(path: Path, *, remedy: str) -> dict[str, Any]:
    """Read a record without its seal.

    Args:
        path: the file.
        remedy: what the user should do about a damaged file.

    Raises:
        RunFolderError: the file is absent or damaged.
    """
    content = storage.read_json(path, remedy=remedy)
    if not isinstance(content, dict):
        raise RunFolderError("is damaged: not a record of lilift", where=path, remedy=remedy)
    if "seal" in content:
        storage.check_seal(content, path, remedy=remedy)
    return {name: value for name, value in content.items() if name != "seal"}


def sealed_text(text: str) -> str:
    """A text of lines that begin comments with ``#``, and the digest of them in a last line."""
    digest = storage.sha256_of_bytes(text.encode("utf-8"))
    return f"{text}{_SEAL_OF_TEXT.decode()}{digest}\n"


def text_is_intact(content: bytes) -> bool:
    """Whether a text is as `sealed_text` made it. A text without the last line counts as intact, and so does an addition."""
    text, seal, digest = content.rpartition(_SEAL_OF_TEXT)
    return not seal or digest.split(b"\n")[0].decode("ascii", "replace").strip() == storage.sha256_of_bytes(text)


def sums_of_loose_files(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in a folder that no manifest covers, by its name in the folder."""
    sums = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        inside = [folder / parent for parent in name.parents]
        if path.is_file() and not any((parent / MANIFEST).exists() for parent in inside):
            sums[name.as_posix()] = storage.sha256_of(path)
    return sums


def check_sums(folder: Path, sums: Mapping[str, str], *, remedy: str) -> None:
    """Check that the files of a folder have recorded sums. A file that no longer exists is no error.

    Raises:
        RunFolderError: a file has changed; the message names it.
    """
    for name, expected in sums.items():
        path = folder / name
        if path.is_file() and storage.sha256_of(path) != expected:
            raise RunFolderError("has been changed since lilift wrote it", where=path, remedy=remedy)
