"""Rows of a data set, from local files or from the Hugging Face hub, with one line for whatever is wrong with them.

Every kind of file has its reader, which gives texts letter for letter as the file has them and reads the file in pieces.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from lilift.data.other_formats import require_text_format
from lilift.data.rows.delimited_rows import delimited_names, read_delimited_rows
from lilift.data.rows.hub_rows import dataset_rows, find_hub_files, load_saved
from lilift.data.rows.json_rows import read_json_rows
from lilift.data.rows.parquet_rows import parquet_names, read_parquet_rows
from lilift.recipe.errors import DataError
from lilift.recipe.names.local_paths import local_path
from lilift.recipe.schema import InstructionSettings

_KINDS = {".jsonl": "json", ".ndjson": "json", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
ROW_FILES = "a .jsonl, .json, .csv, .tsv or .parquet file"
SAMPLE = 100
"""Rows whose keys are the columns of a JSON file, unless none of them has the columns that are looked for."""


class RowReader(Protocol):
    """Reads rows from their beginning, as often as it is called."""

    def __call__(self, columns: Collection[str] | None = None) -> Iterator[Mapping[str, Any]]:
        """The rows, in these columns or in more; in all columns if None."""


@dataclass(frozen=True)
class Rows:
    """The rows of a data set.

    Attributes:
        source: names the data set in errors.
        names: its columns, as far as they are known without reading rows; none for JSON.
        read: reads the rows.
    """

    source: str
    names: tuple[str, ...]
    read: RowReader

    def samples(self) -> Iterator[tuple[list[str], list[Mapping[str, Any]]]]:
        """The first rows together, then each further row by itself, with the names of all columns so far.

        Whoever looks for columns takes samples until they are found, because the first rows may lack them.
        """
        names = dict.fromkeys(self.names)
        rows = self.read()
        sample = list(itertools.islice(rows, SAMPLE))
        while sample:
            for row in sample:
                names.update(dict.fromkeys(row))
            yield list(names), sample
            sample = list(itertools.islice(rows, 1))


def is_local(source: str) -> bool:
    """Whether a source is a file or folder, and no name on the hub."""
    return local_path(source) is not None


def open_rows(settings: InstructionSettings, setting: str = "data.instructions.source", *, kind: str | None = None) -> Rows:
    """Find the rows of a data set.

    Args:
        settings: name it.
        setting: names the source in errors.
        kind: of a local file whose name does not tell, e.g. ``tsv``.

    Raises:
        DataError: the data set cannot be found or read. Reading rows raises it too.
    """
    if not is_local(settings.source):
        if _is_name_of_file(settings.source):
            what = f"no file or folder of that name in {Path.cwd()}"
            raise DataError(what, where=settings.source, remedy=f"check {setting}")
        found = find_hub_files(settings)
        return _rows_of_files(settings.source, *found) if isinstance(found, tuple) else _rows_of_dataset(settings.source, found)
    path = Path(settings.source).expanduser()
    if not path.exists():
        raise DataError("no such file or folder", where=path, remedy=f"check {setting}")
    if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
        return _rows_of_dataset(settings.source, load_saved(path, settings.split))
    if kind is not None:
        return _rows_of_files(settings.source, kind, [path])
    files = _data_files(path)
    return _rows_of_files(settings.source, kind_of_file(files[0]), files)


def _is_name_of_file(source: str) -> bool:
    """Whether a name cannot be one on the hub, because it ends like a file; the hub's names are ``owner/name``."""
    return source.count("/") != 1 and kind_of_file(Path(source)) != ""


def no_rows(source: str) -> DataError:
    """The error for a data set without a row."""
    return DataError("the data set has no rows", where=source, remedy="check data.instructions.source")


def _rows_of_dataset(source: str, dataset: Any) -> Rows:
    return Rows(source, tuple(dataset.column_names), partial(dataset_rows, dataset))


def _rows_of_files(source: str, kind: str, files: list[Path]) -> Rows:
    for file in files:
        if file.stat().st_size == 0:
            raise DataError("the file is empty", where=file, remedy="check data.instructions.source")
    names: list[str] = []
    if kind != "json":
        names_of = parquet_names if kind == "parquet" else partial(delimited_names, tabs=kind == "tsv")
        names = list(dict.fromkeys(name for file in files for name in names_of(file)))
    return Rows(source, tuple(names), partial(_rows_of, kind, files))


def _rows_of(kind: str, files: list[Path], columns: Collection[str] | None = None) -> Iterator[Mapping[str, Any]]:
    for file in files:
        if kind == "json":
            yield from read_json_rows(file)
        elif kind == "parquet":
            yield from read_parquet_rows(file, columns)
        else:
            yield from read_delimited_rows(file, tabs=kind == "tsv")


def _data_files(path: Path) -> list[Path]:
    """The files of one kind behind a path.

    Raises:
        DataError: there is none, or a folder has several kinds.
    """
    if path.is_file():
        require_text_format(path, by_name=kind_of_file(path) == "")
        if kind_of_file(path) == "":
            raise DataError("unknown kind of file", where=path, remedy=f"give {ROW_FILES}")
        return [path]
    files = sorted(file for file in path.rglob("*") if file.is_file() and kind_of_file(file) and not file.name.startswith("."))
    kinds = {kind_of_file(file) for file in files}
    if not files:
        raise DataError(f"the folder has no {ROW_FILES.removeprefix('a ')}", where=path, remedy="check the path")
    if len(kinds) > 1:
        raise DataError(
            f"the folder mixes {' and '.join(sorted(kinds))} files", where=path, remedy="name one file, or separate them"
        )
    return files


def kind_of_file(path: Path) -> str:
    """The kind of rows that a file's name promises: json, csv, tsv or parquet; empty for another file."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in _COMPRESSED]
    return _KINDS.get(suffixes[-1], "") if suffixes else ""
