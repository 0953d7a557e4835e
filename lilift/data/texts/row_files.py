"""Rows of a data set, from local files or from the Hugging Face hub.

`datasets` reads them; every way in which that can fail is one line.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lilift.data.text_files import read_lines, refuse_long_lines, refuse_shifted_rows
from lilift.recipe.errors import DataError, LiliftError
from lilift.recipe.names.local_paths import local_path, neither
from lilift.recipe.schema import InstructionSettings

_KINDS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}


def is_local(source: str) -> bool:
    """Whether a source is a file or folder, and no name on the hub."""
    return local_path(source) is not None


def read_rows(settings: InstructionSettings, scratch: str, setting: str = "data.instructions.source") -> Any:
    """The rows as a `datasets.Dataset`. Local files leave no copy in the cache of `datasets`.

    Args:
        settings: where they are.
        scratch: a folder for what `datasets` writes.
        setting: names the source in errors.

    Raises:
        DataError: it cannot be found or read.
    """
    import datasets
    from huggingface_hub.utils import logging as hub_logging

    shown, verbosity = datasets.utils.logging.is_progress_bar_enabled(), hub_logging.get_verbosity()
    told = datasets.utils.logging.get_verbosity()
    datasets.disable_progress_bars()
    # Their remarks on every retry and every line; what is wrong in the end is told in one line.
    hub_logging.set_verbosity(logging.ERROR)
    datasets.utils.logging.set_verbosity(logging.CRITICAL)
    try:
        if is_local(settings.source):
            return _read_local(Path(settings.source).expanduser(), settings.split, scratch, setting)
        return datasets.load_dataset(settings.source, split=settings.split, revision=settings.revision)
    except LiliftError:
        raise
    except Exception as error:  # datasets, pyarrow, pandas and the hub each raise their own
        raise _hub_error(error, settings) from error
    finally:
        hub_logging.set_verbosity(verbosity)
        datasets.utils.logging.set_verbosity(told)
        if shown:
            datasets.enable_progress_bars()


def _read_local(path: Path, split: str, scratch: str, setting: str) -> Any:
    import datasets

    if not path.exists():
        raise DataError("no such file or folder", where=path, remedy=f"check {setting}")
    if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
        saved = datasets.load_from_disk(str(path), keep_in_memory=True)
        return saved[split] if isinstance(saved, datasets.DatasetDict) else saved
    files = _data_files(path)
    kind = _kind(files[0])
    for file in files:
        if kind == "csv" or ".jsonl" in file.suffixes:  # one line of JSON may hold a whole list, one of these may not
            refuse_long_lines(file)
        if kind == "csv":
            refuse_shifted_rows(file)
    try:
        return datasets.load_dataset(
            kind, data_files=[str(file) for file in files], split="train", cache_dir=scratch, keep_in_memory=True
        )
    except Exception as error:  # whatever the reader of this kind raises
        raise _damage(files, kind, error) from error


def _data_files(path: Path) -> list[Path]:
    """The files of one kind behind a path.

    Raises:
        DataError: there is none, or a folder has several kinds.
    """
    if path.is_file():
        if _kind(path) == "":
            raise DataError("unknown kind of file", where=path, remedy="give a .jsonl, .json, .csv or .parquet file")
        return [path]
    files = sorted(file for file in path.rglob("*") if file.is_file() and _kind(file) and not file.name.startswith("."))
    kinds = {_kind(file) for file in files}
    if not files:
        raise DataError("the folder has no .jsonl, .json, .csv or .parquet file", where=path, remedy="check the path")
    if len(kinds) > 1:
        raise DataError(
            f"the folder mixes {' and '.join(sorted(kinds))} files", where=path, remedy="name one file, or separate them"
        )
    return files


def _kind(path: Path) -> str:
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    return _KINDS.get(suffixes[-1].lower(), "") if suffixes else ""


def _damage(files: list[Path], kind: str, error: Exception) -> DataError:
    """Why files could not be read, with the line where that can be told."""
    for file in files:
        if file.stat().st_size == 0:
            return DataError("the file is empty", where=file, remedy="check data.instructions.source")
        if kind == "parquet":
            continue
        try:
            for number, line in read_lines(file):
                if file.suffixes[0] == ".jsonl" and line.strip() and not _is_object(line):
                    return DataError("the line is not a JSON object", where=f"{file}:{number}", remedy="mend or remove it")
        except DataError as found:
            return found
    if "corresponds to no data" in str(error):
        return no_rows(str(files[0]))
    reason = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
    return DataError(f"cannot read the {kind} data ({reason[0][:160]})", where=files[0], remedy="check the file")


def undecodable(source: str, error: UnicodeDecodeError) -> DataError:
    """What to say of a text that is not UTF-8, with its line where it is in a local file."""
    path = Path(source).expanduser()
    if path.exists():
        return _damage(_data_files(path), "json", error)
    return DataError("a text of the data set is not UTF-8", where=source, remedy="choose another revision or data set")


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), Mapping)
    except ValueError:
        return False


def _hub_error(error: Exception, settings: InstructionSettings) -> DataError:
    """One line for a data set on the hub that could not be had."""
    text = " ".join(str(error).split())
    lower = text.lower()
    remedy = "check the path, or the name on huggingface.co/datasets"
    if "gated" in lower or "401" in lower or "403" in lower:
        what, remedy = "the data set is gated or private", "accept its terms on the hub, then run `hf auth login`"
    elif "unknown split" in lower or "split" in type(error).__name__.lower():
        what, remedy = f"the data set has no split {settings.split!r}", "set data.instructions.split"
    elif any(sign in lower for sign in ("offline", "connection", "resolve", "reach", "timed out", "network")):
        what, remedy = (
            "the data set is not in the hub's cache and the hub cannot be reached",
            "go online once, or name local files",
        )
    elif "doesn't exist" in lower or "not found" in lower or "404" in lower:
        what = "there is no such data set on the hub"
    else:
        what = f"cannot load the data set ({text[:160]})"
    return DataError(neither(settings.source, what), where=settings.source, remedy=remedy)


def no_rows(source: str) -> DataError:
    """A data set without a row."""
    return DataError("the data set has no rows", where=source, remedy="check data.instructions.source")
