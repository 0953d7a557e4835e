"""Records of a run's phases, and the check that nobody has changed the files of a finished phase since.

`inputs.json` is written when a phase begins, and `done.json` when it is complete. Both carry their own digest, and `done.json`
also has the sums of the phase's files. Every remedy here is safe: following it loses no more than the damage did.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lilift.recipe import sealed_folders, sealed_records, storage
from lilift.recipe.errors import RunFolderError

INPUTS, DONE = "inputs.json", "done.json"
REMEDY_FOR_MEASURED = "restore it from a copy, or delete it: only the times and the memory of finished phases are lost"
LARGE = 64 * 2**20
"""Bytes. Larger files of an export are checked only when a command loads them, because that may take minutes."""
MODEL_CARD = "README.md"
"""Users edit it before they publish a model, and no command reads it."""
_PARTS = ("alignment", "adapter", "encoder")


def begin_record(folder: Path, fingerprint: str) -> None:
    """Record which settings a phase has begun with.

    Raises:
        StorageError: the record cannot be written.
    """
    sealed_records.write_record(folder / INPUTS, {"fingerprint": fingerprint})


def finish_record(folder: Path, fingerprint: str, measured: Mapping[str, Any]) -> None:
    """Record that a phase is complete, with the sums of its files.

    Raises:
        StorageError: the record cannot be written.
    """
    is_export = folder.name == "export"  # it has its own record, and `lilift export` may replace its files later
    sums = {} if is_export else sealed_records.sums_of_loose_files(folder)
    record = {
        "fingerprint": fingerprint,
        "measured": storage.digest_of_json(dict(measured)),
        "files": {name: digest for name, digest in sums.items() if name not in (INPUTS, DONE)},
    }
    sealed_records.write_record(folder / DONE, record)


def recorded_fingerprint(folder: Path, name: str) -> str | None:
    """The fingerprint in one of the records of a phase; None if there is no such record.

    Raises:
        RunFolderError: the record is damaged.
    """
    path = folder / name
    return str(_record(path).get("fingerprint")) if path.exists() else None


def holds_training(folder: Path) -> bool:
    """Whether a phase's folder has checkpoints or a trained part."""
    return any(folder.glob("checkpoints/step-*")) or any((folder / part).exists() for part in _PARTS)


def check_finished(folder: Path, measured: Mapping[str, Any] | None) -> None:
    """Check the files of a finished phase. Phases that earlier versions of lilift finished have fewer sums to check.

    Args:
        folder: the folder of the phase.
        measured: the phase's time and memory in `measured.json`, if it has them.

    Raises:
        RunFolderError: a file has changed; the message names it.
    """
    done = _record(folder / DONE)
    if recorded_fingerprint(folder, INPUTS) not in (None, done.get("fingerprint")):
        raise _changed(folder / INPUTS, _remedy_for_record(folder.name))
    if measured is not None and "measured" in done and storage.digest_of_json(measured) != done["measured"]:
        raise _changed(folder.parent / "measured.json", REMEDY_FOR_MEASURED)
    remedy = (
        f"restore it from a copy, or delete it and {folder.name}/{DONE} and run again with --resume; "
        "lilift keeps everything else that the phase has finished"
    )
    sealed_records.check_sums(folder, done.get("files", {}), remedy=remedy)
    for part in _PARTS if folder.name != "export" else ():
        if (folder / part).exists():
            sealed_folders.verify_part(folder / part, if_damaged=sealed_folders.remedy_to_train_again(folder))
    if folder.name == "data":
        _check_data(folder)
    if folder.name == "export":
        _check_export(folder)


def _check_data(folder: Path) -> None:
    remedy = f"restore it from a copy, or delete data/{DONE} and run again with --resume; lilift prepares the data again"
    sealed_folders.verify_part(folder, if_damaged=remedy)
    if (folder / "template.json").exists():
        sealed_records.read_record(folder / "template.json", remedy=remedy)


def _check_export(folder: Path) -> None:
    remedy = "restore it from a copy, or export the run again with `lilift export`"
    for name in ("lilift.json", "drift.json"):
        if (folder / name).exists():
            sums = sealed_records.read_record(folder / name, remedy=remedy).get("sha256", {})
            small = {name: sums[name] for name in sums if _size(folder / name) <= LARGE and not name.endswith(MODEL_CARD)}
            sealed_records.check_sums(folder, small, remedy=remedy)
    for part in ("hf", "alignment", "encoder"):
        if (folder / part / sealed_folders.MANIFEST).exists():
            sealed_folders.read_manifest(folder / part, remedy=remedy)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _record(path: Path) -> dict[str, Any]:
    return sealed_records.read_record(path, remedy=_remedy_for_record(path.parent.name))


def _remedy_for_record(phase: str) -> str:
    then = {"data": "prepares the data again", "export": "exports the run again"}.get(
        phase, "keeps what the phase has finished"
    )
    return f"delete it and run the command again with --resume; lilift {then}"


def _changed(path: Path, remedy: str) -> RunFolderError:
    return RunFolderError("has been changed since lilift wrote it", where=path, remedy=remedy)
