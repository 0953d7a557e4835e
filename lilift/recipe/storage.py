"""Files that are either whole or absent.

Everything that a run writes goes through this module or, for whole folders, through `sealed_folders`. Text and JSON files are
replaced in one motion. Lines of JSON are appended, and a last line that a crash cut short does no harm. A process that dies at
any moment leaves the old state or the new one. A full disk or a read-only folder becomes one `StorageError`, and the old files
stay as they were.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lilift.recipe.errors import RunFolderError, StorageError

PARTIAL = ".partial-"
"""The names of unfinished files and folders begin with this."""
_NO_SPACE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than allowed here",
}
_ALWAYS_THE_DISK = (*_NO_SPACE, errno.EIO, errno.EROFS)  # these name no file when writing or flushing fails
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)


@contextlib.contextmanager
def storage_errors(where: Path) -> Iterator[None]:
    """Turn an error of the operating system while writing below `where` into a `StorageError`.

    Errors about files elsewhere (for example, an input that vanished) pass through unchanged.

    Raises:
        StorageError: the disk is full, the folder is read-only or has vanished, or the disk fails.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _ALWAYS_THE_DISK or _concerns(error.filename, where):
            raise _storage_error(error.errno, where) from error
        raise
    except Exception as error:
        # safetensors writes from Rust. Its errors are not OSErrors, and give the error number only in their text.
        number = re.match(r"Error while serializing.*\(os error (\d+)\)", str(error), re.DOTALL)
        if number is None or type(error).__name__ != "SafetensorError":
            raise
        raise _storage_error(int(number[1]), where) from error


def _concerns(filename: object, place: Path) -> bool:
    """Whether an error's file is `place`, its unfinished form, in one of the two, or a folder above them."""
    if not isinstance(filename, str):
        return False
    file, place = Path(filename).absolute(), place.absolute()
    partial = place.with_name(PARTIAL + place.name)
    return file.is_relative_to(place) or file.is_relative_to(partial) or place.is_relative_to(file)


def _storage_error(number: int | None, where: Path) -> StorageError:
    if number in _NO_SPACE:
        return StorageError(_NO_SPACE[number], where=where, remedy="free some space and run the command again")
    reason = os.strerror(number) if number is not None else "unknown reason"
    if number in _NOT_WRITABLE:
        return StorageError(
            f"cannot be written ({reason})", where=where, remedy="choose another folder or change its permissions"
        )
    return StorageError(f"cannot be written ({reason})", where=where, remedy="check that the disk is connected and healthy")


def write_text(path: Path, text: str) -> None:
    """Replace a UTF-8 text file in one motion; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file in one motion. Creates its folder if it does not exist.

    Raises:
        StorageError: the file cannot be written; the old file, if any, is untouched.
    """
    with whole_file(path) as partial:
        partial.write_bytes(content)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file that appears whole or not at all, in place of an old one. Creates its folder if it does not exist.

    Yields a temporary name to write to. If the block ends without an error, the file is flushed and gets its own name.

    Raises:
        StorageError: the file cannot be written; the old file, if any, is untouched.
    """
    partial = path.with_name(PARTIAL + path.name)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            sync_file(partial)
            partial.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_json(path: Path, value: object) -> None:
    """Replace a JSON file in one motion; see `write_text`."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, *, remedy: str = "restore it from a copy") -> Any:
    """Read a JSON file that lilift wrote.

    Args:
        path: the file.
        remedy: what the user should do about a damaged file. Following it must never lose more than the damage did.

    Raises:
        RunFolderError: the file is absent, unreadable or no longer JSON.
    """
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text)
        if "\\ud" in text.lower():  # half a character, which lilift cannot have written
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except OSError as error:
        raise RunFolderError(f"cannot be read ({error.strerror})", where=path) from error
    except (ValueError, RecursionError) as error:
        raise RunFolderError("is damaged: not JSON", where=path, remedy=remedy) from error


def sealed_json(value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a JSON object with the digest of its content under ``seal``."""
    return {**value, "seal": digest_of_json(value)}


def check_seal(content: Mapping[str, Any], where: Path, *, remedy: str = "restore it, or create it again") -> None:
    """Check an object that `sealed_json` made and that was read again from the file `where`.

    Args:
        content: the object.
        where: the file.
        remedy: what the user should do about a damaged file.

    Raises:
        RunFolderError: the object has changed since `sealed_json` made it.
    """
    value = {name: part for name, part in content.items() if name != "seal"}
    if content.get("seal") != digest_of_json(value):
        raise RunFolderError("has been changed since lilift wrote it", where=where, remedy=remedy)


class JsonLines:
    """A growing file with one JSON object per line.

    Each `append` reaches the disk before it returns. If a crash cut the last line short, `read` ignores that line, and the next
    `append` removes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._repaired = False

    def read(self) -> list[dict[str, Any]]:
        """Every complete record. An empty list if there is no file.

        Raises:
            RunFolderError: the file cannot be read, or a line in the middle is not JSON.
        """
        if not self.path.exists():
            return []
        try:
            lines = self.path.read_bytes().split(b"\n")[:-1]  # a crash cut short what follows the last line break
        except OSError as error:
            raise RunFolderError(f"cannot be read ({error.strerror})", where=self.path) from error
        records = []
        for number, line in enumerate(lines, start=1):
            try:
                records.append(json.loads(line.decode("utf-8")))
            except ValueError as error:
                raise RunFolderError(
                    "is damaged: not a line of JSON", where=f"{self.path}:{number}", remedy="delete that line and run again"
                ) from error
        return records

    def append(self, *records: Mapping[str, Any]) -> None:
        """Add records at the end.

        Raises:
            StorageError: the file cannot be written.
        """
        text = "".join(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records)
        with storage_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:
                if not self._repaired:
                    self._cut_torn_line()
                    self._repaired = True
                end = file.seek(0, os.SEEK_END)
                try:
                    rest = text.encode("utf-8")
                    while rest:  # a nearly full disk takes a part and then refuses the rest
                        rest = rest[file.write(rest) :]
                    os.fsync(file.fileno())
                except BaseException:
                    with contextlib.suppress(OSError):
                        file.truncate(end)
                    self._repaired = False
                    raise

    def rewrite(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Replace the whole file in one motion.

        Raises:
            StorageError: the file cannot be written; the old one is untouched.
        """
        write_text(self.path, "".join(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records))
        self._repaired = True

    def _cut_torn_line(self) -> None:
        content = self.path.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(self.path, content.rfind(b"\n") + 1)


def require_room(place: Path, needed: int, what: str, *, option: str = "--output") -> None:
    """Check that a disk has room before anything is written to it.

    Args:
        place: the file or folder that will be written; it need not exist.
        needed: its size in bytes.
        what: its name in the error.
        option: the option of the command that chooses another place.

    Raises:
        StorageError: the disk has too little room.
    """
    existing = next(parent for parent in (place.absolute(), *place.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise StorageError(
            f"no room for {what}: {_readable(needed)} are needed, but only {_readable(free)} are free",
            where=place,
            remedy=f"free some space, or write to another disk with {option}",
        )


def _readable(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def remove_partial(folder: Path) -> None:
    """Delete the unfinished files and folders that killed processes left directly in `folder`."""
    for leftover in folder.glob(PARTIAL + "*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_of_bytes(content: bytes) -> str:
    """The SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def digest_of_json(value: object) -> str:
    """The SHA-256 of a JSON value. It does not depend on the order of keys."""
    return sha256_of_bytes(json.dumps(value, sort_keys=True, ensure_ascii=False).encode("utf-8"))


def sync_file(path: Path) -> None:
    """Flush a finished file to the disk, and give it the permissions that every new file of this user has.

    safetensors lets only the owner read the files that it writes, whatever the user's umask says.
    """
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    if os.name != "nt":
        mask = os.umask(0o022)  # the only way to read it is to set it
        os.umask(mask)
        mode = path.stat().st_mode
        if mode | (0o666 & ~mask) != mode:
            path.chmod(mode | (0o666 & ~mask))


def sync_folder(folder: Path) -> None:
    """Flush the list of a folder's files to the disk. Windows cannot do this, so there it does nothing."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
