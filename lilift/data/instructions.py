"""English instructions from wherever they are: generated, in local files, or on the Hugging Face hub.

`datasets` reads them; `lilift.data.columns` recognises what is question and what is response. Every row that is not used is
counted with its reason.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lilift.data.columns import Columns, recognise_columns
from lilift.data.contamination import HeldOut
from lilift.data.examples import Example
from lilift.data.text_files import read_lines, refuse_long_lines, refuse_shifted_rows
from lilift.data.world import training_problems
from lilift.recipe.errors import DataError, LiliftError
from lilift.recipe.schema import InstructionSettings

WORLD_PROBLEMS = 6000
"""How many problems `world` generates where the recipe sets no limit."""

_LOCAL = ("/", "./", "../", "~/")
_KINDS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}


@dataclass
class InstructionReport:
    """What was read, and what became of it.

    Attributes:
        source: as the recipe names it.
        layout: how the columns were recognised, e.g. ``metamath``.
        columns: which column is question, response and answer.
        seen: all columns of the source.
        read: rows read.
        kept: examples made of them.
        dropped: reason → rows left out.
        same_question: rows kept whose question another kept row has, with another response.
        benchmarks: benchmark → how many of its questions the rows were compared with.
        unchecked: benchmark → why they were not compared with it.
        contaminated: benchmark → how it was overlapped with → rows, whether they were dropped or kept.
    """

    source: str
    layout: str
    columns: dict[str, str]
    seen: list[str]
    read: int = 0
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    same_question: int = 0
    benchmarks: dict[str, int] = field(default_factory=dict)
    unchecked: dict[str, str] = field(default_factory=dict)
    contaminated: dict[str, dict[str, int]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        return asdict(self)


def load_instructions(
    settings: InstructionSettings, seed: int, *, held_out: HeldOut | None = None, drop_contaminated: bool = True
) -> tuple[list[Example], InstructionReport]:
    """Read the instructions of a recipe.

    Args:
        settings: where they are, and at most how many.
        seed: of the problems that `world` generates.
        held_out: what must not be trained on.
        drop_contaminated: leave out the rows that overlap with it, instead of only counting them.

    Raises:
        DataError: the source cannot be found or read, is empty, has no recognisable columns, or no usable row.
    """
    selection = _Selection(settings, held_out or HeldOut({}), drop_contaminated)
    if settings.source == "world":
        problems = training_problems(settings.limit or WORLD_PROBLEMS, seed)
        columns = {"question": "question", "response": "response", "answer": "answer"}
        report = InstructionReport("world", "generated", columns, list(columns.values()))
        return selection.usable(iter(problems), report), report
    with tempfile.TemporaryDirectory(prefix="lilift-") as scratch:
        rows = read_rows(settings, scratch)
        if len(rows) == 0:
            raise _no_rows(settings.source)
        names = list(rows.column_names)
        try:
            found = recognise_columns(names, rows[0], settings.columns, settings.source)
            report = InstructionReport(settings.source, found.layout, found.as_dict(), names)
            return selection.usable(_examples(rows, found, settings.source), report), report
        except UnicodeDecodeError as error:  # Arrow reads JSON without checking; the fault shows when a text is asked for
            raise _undecodable(settings.source, error) from error


def _no_rows(source: str) -> DataError:
    return DataError("the data set has no rows", where=source, remedy="check data.instructions.source")


def _examples(rows: Any, columns: Columns, source: str) -> Iterator[Example]:
    name = Path(source).name
    for number, row in enumerate(rows, start=1):
        question, response, answer = columns.texts(row)
        yield Example(f"{name}:{number}", question.strip(), response.strip(), answer)


@dataclass(frozen=True)
class _Selection:
    """Which rows are used."""

    settings: InstructionSettings
    held_out: HeldOut
    drop_contaminated: bool

    def usable(self, examples: Iterator[Example], report: InstructionReport) -> list[Example]:
        """Examples with both texts, each once and in no benchmark, up to the limit; the rest is counted."""
        dropped: Counter[str] = Counter()
        kept: list[Example] = []
        rows: set[int] = set()
        questions: set[int] = set()
        for example in examples:
            report.read += 1
            row, question = hash((example.question, example.response)), hash(example.question)
            reason = self._unusable(example, row in rows, report)
            if reason is not None:
                dropped[reason] += 1
                continue
            report.same_question += question in questions
            rows.add(row)
            questions.add(question)
            kept.append(example)
            if len(kept) == self.settings.limit:
                break
        report.kept, report.dropped = len(kept), dict(sorted(dropped.items()))
        report.benchmarks, report.unchecked = self.held_out.sizes, self.held_out.unchecked
        if not kept:
            counts = ", ".join(f"{reason} {count}" for reason, count in dropped.most_common())
            raise DataError(
                f"none of {report.read} rows is usable ({counts})",
                where=self.settings.source,
                remedy="check data.instructions.columns, and data.contaminated if a benchmark has them",
            )
        return kept

    def _unusable(self, example: Example, repeated: bool, report: InstructionReport) -> str | None:
        """Why a row is left out, or None if it is kept."""
        if not example.question:
            return "empty question"
        if not example.response:
            return "empty response"
        if repeated:
            return "repeated"
        overlap = self.held_out.find(example.question)
        if overlap is None:
            return None
        counts = report.contaminated.setdefault(overlap.benchmark, {})
        counts[overlap.match] = counts.get(overlap.match, 0) + 1
        return f"in {overlap.benchmark}" if self.drop_contaminated else None


def is_local(source: str) -> bool:
    """Whether a source is a file or folder, and no name on the hub."""
    return source.startswith(_LOCAL) or Path(source).is_absolute()


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
        return _no_rows(str(files[0]))
    reason = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
    return DataError(f"cannot read the {kind} data ({reason[0][:160]})", where=files[0], remedy="check the file")


def _undecodable(source: str, error: UnicodeDecodeError) -> DataError:
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
    remedy = "begin a local path with ./ or /, and check the name on huggingface.co/datasets"
    if "gated" in lower or "401" in lower or "403" in lower:
        what, remedy = "the data set is gated or private", "accept its terms on the hub, then run `hf auth login`"
    elif "unknown split" in lower or "split" in type(error).__name__.lower():
        what, remedy = f"the data set has no split {settings.split!r}", "set data.instructions.split"
    elif any(sign in lower for sign in ("offline", "connection", "resolve", "reach", "timed out", "network")):
        what, remedy = "the hub cannot be reached and the data set is not in the cache", "go online once, or name local files"
    elif "doesn't exist" in lower or "not found" in lower or "404" in lower:
        what = "there is no such data set on the hub"
    else:
        what = f"cannot load the data set ({text[:160]})"
    return DataError(what, where=settings.source, remedy=remedy)
