"""English instructions from wherever they are: generated, in local files, or on the Hugging Face hub.

`row_files` reads the rows, `columns` recognises which column holds what. Every row that is not used is counted with its reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lilift.data.composed_text import composed
from lilift.data.rows.cells import UnusableRowError
from lilift.data.rows.row_files import Rows, no_rows, open_rows
from lilift.data.texts.columns import Columns, find_columns, unknown_columns
from lilift.data.texts.contamination import HeldOut
from lilift.data.texts.examples import Example
from lilift.data.world import training_problems
from lilift.recipe.errors import DataError
from lilift.recipe.schema import InstructionSettings

_BARE_NUMBER = re.compile(r"[-+]?[\d.,/]*\d%?\.?")
WORLD_PROBLEMS = 6000
"""How many problems `world` generates if the recipe sets no limit."""


@dataclass
class InstructionReport:
    """How many rows were read, kept and left out, and why.

    Attributes:
        source: as the recipe names it.
        layout: name of the recognised layout, e.g. ``metamath``.
        columns: which column is question, response and answer.
        seen: all columns of the source; of a JSON file, those of its first rows.
        read: rows read.
        kept: rows kept as examples.
        dropped: reason → rows left out.
        same_question: kept rows whose question another kept row has, with another response.
        bare_numbers: kept rows whose response is a number without a word.
        benchmarks: benchmark → how many of its questions the rows were compared with.
        unchecked: benchmark → why the rows were not compared with it.
        contaminated: benchmark → kind of overlap → rows, whether they were dropped or kept.
    """

    source: str
    layout: str
    columns: dict[str, str]
    seen: list[str]
    read: int = 0
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    same_question: int = 0
    bare_numbers: int = 0
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
    rows = open_rows(settings)
    found, names = _recognised(rows, settings)
    report = InstructionReport(settings.source, found.layout, found.as_dict(), names)
    return selection.usable(_examples(rows, found), report), report


def _recognised(rows: Rows, settings: InstructionSettings) -> tuple[Columns, list[str]]:
    """The columns by role, and the names of all columns: from the first rows, or from the first later row that has them."""
    names: list[str] = []
    sample: list[Mapping[str, Any]] = []
    for names, sample in rows.samples():
        found = find_columns(names, sample, settings.columns)
        if found is not None:
            return found, names
    if not sample:
        raise no_rows(settings.source)
    raise unknown_columns(names, settings.columns, settings.source)


def _examples(rows: Rows, columns: Columns) -> Iterator[Example | str]:
    """An example for each row, or the reason why the row cannot be used."""
    name = Path(rows.source).name
    for number, row in enumerate(rows.read(list(columns.as_dict().values())), start=1):
        try:
            question, response, answer = columns.texts(row)
        except UnusableRowError as reason:
            yield str(reason)
            continue
        question, response = composed(question.strip()), composed(response.strip())
        yield Example(f"{name}:{number}", question, response, answer and composed(answer))


@dataclass(frozen=True)
class _Selection:
    """Which rows are used."""

    settings: InstructionSettings
    held_out: HeldOut
    drop_contaminated: bool

    def usable(self, examples: Iterator[Example | str], report: InstructionReport) -> list[Example]:
        """Examples with both texts, each once and in no benchmark, up to the limit; lilift counts the others by reason."""
        dropped: Counter[str] = Counter()
        kept: list[Example] = []
        rows: set[int] = set()
        questions: set[int] = set()
        for example in examples:
            report.read += 1
            if isinstance(example, str):
                dropped[example] += 1
                continue
            row, question = hash((example.question, example.response)), hash(example.question)
            reason = self._unusable(example, row in rows, report)
            if reason is not None:
                dropped[reason] += 1
                continue
            report.same_question += question in questions
            report.bare_numbers += _BARE_NUMBER.fullmatch(example.response) is not None
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
