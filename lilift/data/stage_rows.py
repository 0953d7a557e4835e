"""The rows that the two stages train on, made from prepared data when they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lilift.data.align_tasks import AlignTasks, align_tasks
from lilift.data.examples import Example, Row, Task
from lilift.data.prepare import PreparedData
from lilift.data.tokenization import LengthReport, Tokenisation, unknown_by_script
from lilift.recipe.schema import Recipe

_MEASURED_TOGETHER = 4096
UNKNOWN_LIMIT = 0.001
"""A larger share of unknown tokens in a script is told."""
UNKNOWN_MEASURED_ON = 20_000
"""Rows that the share is measured on; more would not change it."""


@dataclass(frozen=True)
class _StageRows(ABC):
    """Rows of a stage; a `lilift.data.steps.RowSource`.

    Attributes:
        examples: the English instructions.
        tokenisation: turns texts into rows, and counts them in its report.
    """

    examples: Sequence[Example]
    tokenisation: Tokenisation

    def __len__(self) -> int:
        return len(self.examples)

    def rows(self, epoch: int, indices: Sequence[int]) -> list[Row | None]:
        """The rows at `indices` as they are in `epoch`; None for one that the length policy drops."""
        return self.tokenisation.rows([self.task(epoch, index) for index in indices])

    def row_name(self, index: int) -> str:
        """How an error names the row at `index`."""
        return self.examples[index].id

    def lengths(self, epoch: int = 0) -> LengthReport:
        """What the length limits do to all rows of an epoch; tokenises each of them once."""
        measuring = replace(self, tokenisation=replace(self.tokenisation, report=LengthReport()))
        for start in range(0, len(self), _MEASURED_TOGETHER):
            measuring.rows(epoch, range(start, min(start + _MEASURED_TOGETHER, len(self))))
        return measuring.tokenisation.report

    def unreadable(self, epoch: int = 0) -> dict[str, float]:
        """What the encoder cannot spell of an epoch's first rows: script (ISO 15924) → share of its tokens, if much."""
        count = min(len(self), UNKNOWN_MEASURED_ON)
        texts = (self.tokenisation.template.source(self.task(epoch, index).source) for index in range(count))
        counts = unknown_by_script(self.tokenisation.encoder, texts)
        shares = {script: unknown / tokens for script, (tokens, unknown) in counts.items() if tokens}
        return {script: share for script, share in shares.items() if share > UNKNOWN_LIMIT}

    @abstractmethod
    def task(self, epoch: int, index: int) -> Task:
        """What is read and said in the row at `index`."""


@dataclass(frozen=True)
class AlignRows(_StageRows):
    """Stage 1: code-switched questions, anew in every epoch.

    Attributes:
        tasks: makes them.
    """

    tasks: AlignTasks

    def task(self, epoch: int, index: int) -> Task:
        """The switched question, and the English question or its response."""
        return self.tasks.task(self.examples[index], epoch, index)[0]


@dataclass(frozen=True)
class TransferRows(_StageRows):
    """Stage 2: English questions and their responses."""

    def task(self, epoch: int, index: int) -> Task:  # noqa: ARG002  every epoch has the same rows
        """The example as it is."""
        example = self.examples[index]
        return Task(example.id, example.question, example.response, "respond")


def align_rows(prepared: PreparedData, recipe: Recipe, tokenisation: Tokenisation) -> AlignRows:
    """The rows of stage 1.

    Raises:
        DataError: there is no lexicon.
    """
    return AlignRows(prepared.examples, tokenisation, align_tasks(prepared, recipe))


def transfer_rows(prepared: PreparedData, tokenisation: Tokenisation) -> TransferRows:
    """The rows of stage 2."""
    return TransferRows(prepared.examples, tokenisation)
