"""English instructions from wherever they are: generated, in local files, or on the Hugging Face hub.

`row_files` reads them; `columns` recognises what is question and what is response. Every row that is
not used is counted with its reason.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lilift.data.texts.columns import Columns, recognise_columns
from lilift.data.texts.contamination import HeldOut
from lilift.data.texts.examples import Example
from lilift.data.texts.row_files import no_rows, read_rows, undecodable
from lilift.data.world import training_problems
from lilift.recipe.errors import DataError
from lilift.recipe.schema import InstructionSettings

WORLD_PROBLEMS = 6000
"""How many problems `world` generates where the recipe sets no limit."""


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
            raise no_rows(settings.source)
        names = list(rows.column_names)
        try:
            found = recognise_columns(names, rows[0], settings.columns, settings.source)
            report = InstructionReport(settings.source, found.layout, found.as_dict(), names)
            return selection.usable(_examples(rows, found, settings.source), report), report
        except UnicodeDecodeError as error:  # Arrow reads JSON without checking; the fault shows when a text is asked for
            raise undecodable(settings.source, error) from error


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
