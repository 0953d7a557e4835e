"""Makes the rows that the two stages train on from prepared data, at the moment when a stage needs them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lilift.data.align_tasks import AlignTasks, align_tasks
from lilift.data.batches.tokenization import LengthReport, Tokenisation, unknown_by_script
from lilift.data.monolingual_rows import MonolingualRows, monolingual_rows
from lilift.data.prepared_data import PreparedData
from lilift.data.texts.examples import Example, Row, Task
from lilift.recipe.schema import Recipe

Text = Literal["switched", "english", "translated"]
"""What the encoder reads: English with switched words, plain English, or translations."""

_MEASURED_TOGETHER = 4096
UNKNOWN_LIMIT = 0.001
"""lilift reports a larger share of unknown tokens in a script."""
MEASURED_ON = 20_000
"""Rows that the encoder's tokenizer is tested on; more rows would not change the report."""


@dataclass(frozen=True)
class _StageRows(ABC):
    """Rows of a stage; a `lilift.data.batches.step_grouping.RowSource`.

    Attributes:
        texts: the kinds of texts, in this order, and the examples behind each.
        tokenisation: turns texts into rows, and counts them in its report.
    """

    texts: Mapping[Text, Sequence[Example]]
    tokenisation: Tokenisation

    def __len__(self) -> int:
        return sum(map(len, self.texts.values()))

    def at(self, index: int) -> tuple[Text, Example]:
        """The kind of text of the row at `index`, and its example."""
        for text, examples in self.texts.items():
            if index < len(examples):
                return text, examples[index]
            index -= len(examples)
        raise IndexError("the index is beyond the last row")

    def rows(self, epoch: int, indices: Sequence[int]) -> list[Row | None]:
        """The rows at `indices` in `epoch`; None for a row that the length policy drops."""
        return self.tokenisation.rows([self.task(epoch, index) for index in indices])

    def row_name(self, index: int) -> str:
        """The name of the row at `index` in errors."""
        return self.at(index)[1].id

    def lengths(self, epoch: int = 0, *, at_most: int | None = None) -> LengthReport:
        """Count what the length limits do to all rows of an epoch, or to `at_most` evenly spread ones. Tokenizes each once."""
        measuring = replace(self, tokenisation=replace(self.tokenisation, report=LengthReport()))
        indices = range(0, len(self), max(1, -(-len(self) // at_most)) if at_most else 1)
        for start in range(0, len(indices), _MEASURED_TOGETHER):
            measuring.rows(epoch, indices[start : start + _MEASURED_TOGETHER])
        return measuring.tokenisation.report

    def unreadable(self, epoch: int = 0) -> dict[str, float]:
        """The scripts (ISO 15924) that the encoder cannot read well, with their share of unknown tokens in the first rows."""
        count = min(len(self), MEASURED_ON)
        texts = (self.tokenisation.template.source(self.task(epoch, index).source) for index in range(count))
        counts = unknown_by_script(self.tokenisation.encoder, texts)
        shares = {script: unknown / tokens for script, (tokens, unknown) in counts.items() if tokens}
        return {script: share for script, share in shares.items() if share > UNKNOWN_LIMIT}

    def flattened(self) -> int:
        """How many of the first rows have line breaks that the encoder's tokenizer reads as spaces; 0 if it keeps them."""
        encoder = self.tokenisation.encoder
        if encoder.encode("a\nb") != encoder.encode("a b"):
            return 0
        first = (self.at(index)[1] for index in range(min(len(self), MEASURED_ON)))
        return sum("\n" in self.tokenisation.template.source(example.source) for example in first)

    @abstractmethod
    def task(self, epoch: int, index: int) -> Task:
        """The task of the row at `index`: the text that the encoder reads, and the target of the LLM."""


@dataclass(frozen=True)
class AlignRows(_StageRows):
    """The rows of stage 1: code-switched questions (new in every epoch), English texts, translated texts, or several of these.

    Attributes:
        tasks: makes the tasks.
    """

    tasks: AlignTasks

    def task(self, epoch: int, index: int) -> Task:
        """The text that the encoder reads, and as target its English text or the response to it."""
        text, example = self.at(index)
        if text == "switched":
            return self.tasks.task(example, epoch, index)[0]
        return self.tasks.unswitched(example, epoch, index)


@dataclass(frozen=True)
class TransferRows(_StageRows):
    """The rows of stage 2: questions, English or translated, and their responses."""

    def task(self, epoch: int, index: int) -> Task:  # noqa: ARG002  every epoch has the same rows
        """The example without changes."""
        _, example = self.at(index)
        return Task(example.id, example.source, example.response, "respond", example.source_language)


def align_rows(prepared: PreparedData, recipe: Recipe, tokenisation: Tokenisation) -> AlignRows | MonolingualRows:
    """The rows of stage 1.

    Raises:
        DataError: the recipe switches words and there is no lexicon, or there is too little running text.
        ModelError: see `monolingual_rows`.
    """
    if recipe.uses_monolingual:
        return monolingual_rows(prepared, recipe, tokenisation)
    ending = replace(tokenisation, adds_end=recipe.align.learns_end)
    texts = [text for text in recipe.align.texts if text != "monolingual"]
    return AlignRows(_chosen(prepared, texts), ending, align_tasks(prepared, recipe))


def transfer_rows(prepared: PreparedData, recipe: Recipe, tokenisation: Tokenisation) -> TransferRows:
    """The rows of stage 2."""
    return TransferRows(_chosen(prepared, recipe.transfer.texts), tokenisation)


def _chosen(prepared: PreparedData, texts: Collection[Text]) -> dict[Text, Sequence[Example]]:
    """The examples behind each kind of text, always in the same order."""
    sources: dict[Text, Sequence[Example]] = {
        "switched": prepared.examples,
        "english": prepared.examples,
        "translated": prepared.translations,
    }
    return {text: examples for text, examples in sources.items() if text in texts}
