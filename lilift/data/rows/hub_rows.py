"""Rows of data sets on the Hugging Face hub, and of folders that `datasets` has saved.

`datasets` finds and downloads the files. lilift reads CSV and JSON files itself, because `datasets` would guess the type of
every column and change texts such as ``007`` and ``null``.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from lilift.recipe.errors import DataError, LiliftError
from lilift.recipe.names.local_paths import neither
from lilift.recipe.schema import InstructionSettings

_PARQUET_BRANCH = "refs/convert/parquet"
_READ_HERE = ("csv", "json")
"""Loaders of `datasets` whose files lilift reads."""
_LAYOUT_SETTINGS = ("names", "column_names", "skiprows", "field")
"""What an author can set for these loaders that lilift's own readers do not know."""


def find_hub_files(settings: InstructionSettings) -> tuple[str, list[Path]] | Any:
    """The downloaded files of a data set with their kind, or its rows as a `datasets.Dataset`.

    Raises:
        DataError: the data set cannot be found or loaded.
    """
    import datasets

    try:
        with _quiet():
            where, builder = _found(settings)
            loader = _loader_of(builder)
            files = _files_to_read_here(builder, settings.split) if loader in _READ_HERE else []
            if not files:
                return datasets.load_dataset(settings.source, split=settings.split, **where)
            downloads = datasets.DownloadConfig(token=builder.token)
            manager = datasets.DownloadManager(dataset_name=builder.dataset_name, download_config=downloads)
            return loader, [Path(path) for path in manager.download(files)]
    except LiliftError:
        raise
    except Exception as error:  # datasets, pyarrow, pandas and the hub each raise their own
        raise _hub_error(error, settings) from error


def load_saved(path: Path, split: str) -> Any:
    """A folder that `datasets` has saved, as a `datasets.Dataset`.

    Raises:
        DataError: it cannot be read, or has no such split.
    """
    import datasets

    try:
        saved = datasets.load_from_disk(str(path))
    except Exception as error:  # whatever is wrong with the folder
        reason = " ".join(str(error).split())[:160]
        raise DataError(f"cannot read the saved data set ({reason})", where=path, remedy="save it again") from error
    if not isinstance(saved, datasets.DatasetDict):
        return saved
    if split not in saved:
        raise DataError(f"the data set has no split {split!r}", where=path, remedy="set data.instructions.split")
    return saved[split]


def dataset_rows(dataset: Any, columns: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a `datasets.Dataset`, in these columns, as far as it has them."""
    names = dataset.column_names if columns is None else [name for name in dataset.column_names if name in columns]
    yield from dataset.select_columns(names)


def _found(settings: InstructionSettings) -> tuple[dict[str, str], Any]:
    """Where a data set or its subset is on the hub, as arguments for `datasets`, and the builder for them.

    Old data sets are scripts. `datasets` no longer runs them, and lilift does not either. The hub keeps their rows as parquet
    files on a branch of its own, one folder for each subset.
    """
    import datasets

    given = {"name": settings.subset, "revision": settings.revision}
    where = {name: text for name, text in given.items() if text is not None}
    try:
        return where, datasets.load_dataset_builder(settings.source, **where)
    except RuntimeError as error:
        if settings.revision is not None or "scripts are no longer supported" not in str(error):
            raise
        where = {"data_dir": settings.subset or "default", "revision": _PARQUET_BRANCH}
        return where, datasets.load_dataset_builder(settings.source, **where)


def _loader_of(builder: Any) -> str:
    """Name of the loader that `datasets` ships, e.g. ``csv``; empty for any other."""
    package, _, name = type(builder).__module__.rpartition(".")
    return name if package.startswith("datasets.packaged_modules") else ""


def _files_to_read_here(builder: Any, split: str) -> list[str]:
    """Addresses of a split's files; none where only `datasets` can read them: a part of a split, archives, special settings."""
    by_split = {str(name): [str(file) for file in files] for name, files in (builder.config.data_files or {}).items()}
    files = by_split.get(split, [])
    has_settings = any(getattr(builder.config, name, None) is not None for name in _LAYOUT_SETTINGS)
    is_archive = any(file.lower().endswith((".zip", ".tar", ".tgz", ".tar.gz")) for file in files)
    return [] if has_settings or is_archive else files


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and remarks; what is wrong in the end becomes one line. And no counting of uses on a public server."""
    import datasets
    from huggingface_hub.utils import logging as hub_logging

    shown = datasets.utils.logging.is_progress_bar_enabled()
    verbosity, hub_verbosity = datasets.utils.logging.get_verbosity(), hub_logging.get_verbosity()
    datasets.disable_progress_bars()
    hub_logging.set_verbosity(logging.ERROR)
    datasets.utils.logging.set_verbosity(logging.CRITICAL)
    # Otherwise `datasets` asks a server of Hugging Face for the name of every loader, even if it reads a local file.
    counts, datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = datasets.config.HF_UPDATE_DOWNLOAD_COUNTS, False
    try:
        yield
    finally:
        hub_logging.set_verbosity(hub_verbosity)
        datasets.utils.logging.set_verbosity(verbosity)
        datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = counts
        if shown:
            datasets.enable_progress_bars()


def _hub_error(error: Exception, settings: InstructionSettings) -> DataError:
    """One line for a data set on the hub that cannot be loaded."""
    text = " ".join(str(error).split())
    lower = text.lower()
    remedy = "check the path, or the name on huggingface.co/datasets"
    if "gated" in lower or "401" in lower or "403" in lower:
        what, remedy = "the data set is gated or private", "accept its terms on the hub, then run `hf auth login`"
    elif "unknown split" in lower or "split" in type(error).__name__.lower():
        what, remedy = f"the data set has no split {settings.split!r}", "set data.instructions.split"
    elif "config name is missing" in lower or ("builderconfig" in lower and "not found" in lower):
        what = (
            "the data set has several subsets" if settings.subset is None else f"the data set has no subset {settings.subset!r}"
        )
        remedy = f"set data.instructions.subset to one of {_listed(text)}"
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


def _listed(text: str) -> str:
    """The subsets that an error of `datasets` lists, the first few."""
    names = re.findall(r"'([^']+)'", text[text.find("[") :].partition("]")[0])
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "") if names else "those on its page on the hub"
