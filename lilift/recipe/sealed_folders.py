"""Folders that are either whole or absent, and that show any later change.

lilift *seals* a folder: it writes the folder under another name, flushes it to the disk, adds a manifest with the size and
SHA-256 of every file, and renames it.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lilift.recipe.errors import RunFolderError
from lilift.recipe.storage import (
    PARTIAL,
    digest_of_json,
    read_json,
    sha256_of,
    storage_errors,
    sync_file,
    sync_folder,
    write_json,
)

MANIFEST = "manifest.json"
_FORMAT = 1


@contextlib.contextmanager
def sealed_folder(folder: Path, details: Mapping[str, Any] | None = None) -> Iterator[Path]:
    """Write a folder that appears whole or not at all.

    Yields an empty folder beside `folder` to put files in. If the block ends without an error, every file is flushed, the
    manifest is added, and the new folder replaces whatever had the name `folder` before.

    Args:
        folder: the final name of the folder.
        details: plain JSON values for the manifest, such as a format version or a recipe's fingerprint. The block may still
            add to them.

    Raises:
        StorageError: the folder cannot be written; the earlier one is untouched.
    """
    details = {} if details is None else details
    partial = folder.with_name(PARTIAL + folder.name)
    with storage_errors(folder):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            yield partial
            _write_manifest(partial, [path for path in partial.rglob("*") if path.is_file()], details)
            for inner in [partial, *(path for path in partial.rglob("*") if path.is_dir())]:
                sync_folder(inner)
            if folder.exists():
                remove_folder(folder)
            if folder.is_symlink():  # the new folder takes the place of a link to another disk
                folder.unlink()
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        sync_folder(folder.parent)


@contextlib.contextmanager
def replaced_parts(folder: Path, *, parts: Iterable[str], last: str) -> Iterator[Path]:
    """Write several parts of a folder that also holds other things, and put them in place together.

    Yields an empty folder inside `folder` to write in. If the block ends without an error, everything in it is flushed, the
    earlier `parts` are deleted, and the new ones move up into `folder`. The part `last` is deleted first and moves last: where
    it exists, all parts are complete.

    Args:
        folder: the folder of the parts; created if it does not exist.
        parts: patterns of the names that parts may have.
        last: the name of the part that shows that all others are complete.

    Raises:
        StorageError: the parts cannot be written; the earlier ones are untouched.
    """
    staged = folder / f"{PARTIAL}parts"
    is_new = not folder.exists()
    with storage_errors(folder):
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        try:
            yield staged
            for path in staged.rglob("*"):
                sync_folder(path) if path.is_dir() else sync_file(path)
            (folder / last).unlink(missing_ok=True)
            for old in [path for pattern in (*parts, last) for path in folder.glob(pattern)]:
                remove_folder(old) if old.is_dir() else old.unlink()
            for new in sorted(staged.iterdir(), key=lambda path: path.name == last):
                new.rename(folder / new.name)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
            if is_new and not any(folder.iterdir()):
                folder.rmdir()
        sync_folder(folder)


def seal_files(folder: Path, names: Iterable[str], details: Mapping[str, Any] | None = None) -> None:
    """Write a manifest of some files in a folder that keeps growing, so that `verify_sealed_folder` finds any change of them.

    Raises:
        StorageError: the manifest cannot be written.
    """
    with storage_errors(folder):
        _write_manifest(folder, [folder / name for name in names], details or {})


def verify_sealed_folder(folder: Path, *, leave_out: Collection[str] = ()) -> dict[str, Any]:
    """Check every file of a sealed folder against its manifest, and return the manifest's details.

    Args:
        folder: the sealed folder.
        leave_out: names of files that users may change.

    Raises:
        RunFolderError: the folder is absent or incomplete, or a file is missing, truncated or changed; the message names it.
    """
    if not (folder / MANIFEST).is_file():
        raise RunFolderError("is absent or incomplete: it has no manifest", where=folder)
    manifest = read_manifest(folder)
    for name, expected in manifest["files"].items():
        if name not in leave_out:
            _verify_file(folder, name, expected["size"], expected["sha256"])
    details: dict[str, Any] = manifest["details"]
    return details


def read_manifest(folder: Path, *, remedy: str | None = None) -> dict[str, Any]:
    """The manifest of a sealed folder, without a look at the files that it names.

    Raises:
        RunFolderError: the manifest is damaged.
    """
    try:
        manifest = read_json(folder / MANIFEST)
    except RunFolderError as error:
        reason = error.what.removeprefix("is damaged: ")
        raise RunFolderError(f"is damaged: {MANIFEST} is {reason}", where=folder, remedy=remedy) from error
    if not isinstance(manifest, dict) or manifest.pop("seal", None) != digest_of_json(manifest):
        raise RunFolderError(f"is damaged: {MANIFEST} has changed since it was written", where=folder, remedy=remedy)
    if manifest["format"] > _FORMAT:
        raise RunFolderError("was written by a newer lilift", where=folder, remedy="update lilift")
    return manifest


def verify_part(
    part: Path,
    *,
    if_unfinished: str | None = None,
    if_damaged: str | None = None,
    message: str | None = None,
    leave_out: Collection[str] = (),
) -> dict[str, Any]:
    """Check a sealed folder of a run or an export, and tell the user what to do about it. Returns the manifest's details.

    Args:
        part: the sealed folder. In a run, its parent is the folder of the stage that makes it.
        if_unfinished: the remedy if the folder does not exist, because the stage is not finished. If you leave it out, a folder
            that does not exist counts as damaged.
        if_damaged: the remedy if the folder is damaged, instead of the one that `verify_sealed_folder` gives.
        message: the error's text if the folder is damaged, with ``{reason}`` in it.
        leave_out: names of files that users may change.

    Raises:
        RunFolderError: the stage is not finished, or the folder is damaged; the message names the stage or the file.
    """
    stage = part.parent
    if if_unfinished is not None and not part.exists():
        raise RunFolderError(f"phase {stage.name!r} of this run is not finished", where=stage.parent, remedy=if_unfinished)
    try:
        return verify_sealed_folder(part, leave_out=leave_out)
    except RunFolderError as error:
        remedy = if_damaged or error.remedy
        if message is None:
            raise RunFolderError(error.what, where=error.where, remedy=remedy) from error
        reason = error.what.removeprefix("is damaged: ")
        raise RunFolderError(message.format(reason=reason), where=part, remedy=remedy) from error


def run_command(run: Path, options: str) -> str:
    """The command that goes on with a run, whatever recipe file it began with: the run folder has its recipe."""
    return f"lilift recipe run {shlex.quote(str(run / 'recipe.yaml'))} --run-folder {shlex.quote(str(run))} {options}"


def remedy_to_finish(run: Path) -> str:
    """The remedy for a part of a run that is not there yet."""
    return f"finish it with `{run_command(run, '--resume')}`"


def remedy_to_train_again(stage: Path) -> str:
    """The remedy for a damaged part of a run.

    Args:
        stage: the folder of the stage that has made it.
    """
    return f"restore it from a copy, or train it again with `{run_command(stage.parent, f'--restart-from {stage.name}')}`"


def clear_folder(folder: Path) -> None:
    """Delete a folder if it exists. If it is a link to a folder on another disk, delete the content there and keep the link.

    Raises:
        StorageError: something in it cannot be deleted.
    """
    with storage_errors(folder):
        if not folder.is_symlink():
            if folder.exists():
                shutil.rmtree(folder)
            return
        for path in folder.iterdir() if folder.is_dir() else ():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def remove_folder(folder: Path) -> None:
    """Delete a folder in one motion, so that nobody ever sees half of it. Of a link, delete the content and keep the link.

    Raises:
        StorageError: the folder cannot be deleted.
    """
    if folder.is_symlink():
        clear_folder(folder)
        return
    doomed = folder.with_name(PARTIAL + "removed-" + folder.name)
    with storage_errors(folder):
        shutil.rmtree(doomed, ignore_errors=True)
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _write_manifest(folder: Path, paths: Iterable[Path], details: Mapping[str, Any]) -> None:
    files = {}
    for path in sorted(paths):
        sync_file(path)
        files[path.relative_to(folder).as_posix()] = {"size": path.stat().st_size, "sha256": sha256_of(path)}
    manifest = {"format": _FORMAT, "details": dict(details), "files": files}
    write_json(folder / MANIFEST, {**manifest, "seal": digest_of_json(manifest)})


def _verify_file(folder: Path, name: str, size: int, sha256: str) -> None:
    path = folder / name
    try:
        actual = path.stat().st_size
        if actual != size:
            raise RunFolderError(f"is damaged: {name} has {actual} bytes instead of {size}", where=folder)
        if sha256_of(path) != sha256:
            raise RunFolderError(f"is damaged: {name} has changed since it was written", where=folder)
    except OSError as error:
        raise RunFolderError(f"is damaged: {name} cannot be read ({error.strerror})", where=folder) from error
