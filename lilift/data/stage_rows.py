"""The rows that the two stages train on, made from prepared data when they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import overload

from lilift.data.align_tasks import AlignTasks, align_tasks
from lilift.data.examples import Example, Row, Task, TranslatedExample
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
    """Stage 1: code-switched questions, anew in every epoch, or translated texts, or the ones and then the others.

    Attributes:
        tasks: makes them.
    """

    tasks: AlignTasks

    def task(self, epoch: int, index: int) -> Task:
        """What is read, and the English of it or its response."""
        example = self.examples[index]
        if isinstance(example, TranslatedExample):
            return self.tasks.translated(example, epoch, index)
        return self.tasks.task(example, epoch, index)[0]


@dataclass(frozen=True)
class TransferRows(_StageRows):
    """Stage 2: questions, English or translated, and their responses."""

    def task(self, epoch: int, index: int) -> Task:  # noqa: ARG002  every epoch has the same rows
        """The example as it is."""
        example = self.examples[index]
        question = example.text if isinstance(example, TranslatedExample) else example.question
        return Task(example.id, question, example.response, "respond")


class _Joined(Sequence[Example]):
    """Two sequences one after the other, neither copied."""

    def __init__(self, first: Sequence[Example], second: Sequence[Example]) -> None:
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return self._first[index] if index < len(self._first) else self._second[index - len(self._first)]


def align_rows(prepared: PreparedData, recipe: Recipe, tokenisation: Tokenisation) -> AlignRows:
    """The rows of stage 1.

    Raises:
        DataError: words are to be switched and there is no lexicon.
    """
    examples = _chosen(prepared, "switched" in recipe.align.texts, "translated" in recipe.align.texts)
    return AlignRows(examples, tokenisation, align_tasks(prepared, recipe))


def transfer_rows(prepared: PreparedData, recipe: Recipe, tokenisation: Tokenisation) -> TransferRows:
    """The rows of stage 2."""
    examples = _chosen(prepared, "english" in recipe.transfer.texts, "translated" in recipe.transfer.texts)
    return TransferRows(examples, tokenisation)


def _chosen(prepared: PreparedData, english: bool, translated: bool) -> Sequence[Example]:
    if english and translated:
        return _Joined(prepared.examples, prepared.translations)
    return prepared.examples if english else prepared.translations
