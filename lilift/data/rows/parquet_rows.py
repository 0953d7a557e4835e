"""Rows of Parquet files, read batch by batch and only in the columns that are used."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from lilift.recipe.errors import DataError

_TOGETHER = 1024
"""Rows of a batch: few, because a row may be long."""


def parquet_names(path: Path) -> list[str]:
    """The columns of a file.

    Raises:
        DataError: the file cannot be read, or is not Parquet.
    """
    with _opened(path) as file:
        return list(file.schema_arrow.names)


def read_parquet_rows(path: Path, columns: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a file.

    Args:
        path: the file.
        columns: read only these, as far as the file has them; all of them if None.

    Raises:
        DataError: the file cannot be read, or names a used column twice.
    """
    import pyarrow

    with _opened(path) as file:
        there: list[str] = file.schema_arrow.names
        names = [name for name in there if columns is None or name in columns]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"the file has the column {twice!r} twice", where=path, remedy="rename one")
        # Arrow takes a dot in a name for the path to a part of a column.
        chosen = None if any("." in name for name in names) else names
        try:
            for batch in file.iter_batches(batch_size=_TOGETHER, columns=chosen, use_threads=False):
                cells = [_values(batch.column(name)) for name in names]
                for row in zip(*cells, strict=True):
                    yield dict(zip(names, row, strict=True))
        except (pyarrow.ArrowException, OSError) as error:
            raise _unreadable(path, error) from None


def _values(column: Any) -> list[Any]:
    """The cells of a column as Python values. Bytes become texts, also within lists; those that are not UTF-8 stay bytes."""
    import numpy
    import pyarrow

    if pyarrow.types.is_float16(column.type) or pyarrow.types.is_float32(column.type):
        # As Python's own float, which has more digits, 0.1 would become 0.10000000149011612.
        narrow = numpy.float16 if pyarrow.types.is_float16(column.type) else numpy.float32
        cells = [None if cell is None else narrow(cell) for cell in column.to_pylist()]
        return [None if cell is None or numpy.isnan(cell) else str(cell) for cell in cells]
    try:
        cells = column.to_pylist()
        return [_with_texts(cell) for cell in cells] if "binary" in str(column.type) else list(cells)
    except UnicodeDecodeError:
        return [_with_texts(cell) for cell in column.cast(pyarrow.large_binary()).to_pylist()]
    except (ValueError, OverflowError):  # a time that Python cannot hold
        return list(column.cast(pyarrow.string()).to_pylist())


def _with_texts(cell: Any) -> Any:
    """The cell with texts for all bytes that are UTF-8."""
    if isinstance(cell, bytes):
        try:
            return cell.decode("utf-8")
        except UnicodeDecodeError:
            return cell
    if isinstance(cell, list):
        return [_with_texts(one) for one in cell]
    return {name: _with_texts(one) for name, one in cell.items()} if isinstance(cell, dict) else cell


def _opened(path: Path) -> Any:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        return ParquetFile(path, memory_map=False, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return DataError(f"cannot read the parquet data ({reason[:160]})", where=path, remedy="check the file")
