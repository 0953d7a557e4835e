"""What the data of a run is made of: an English instruction, and the tokens of one row of training or generation."""

from __future__ import annotations

from dataclasses import dataclass

from lilift.recipe.schema import Target


@dataclass(frozen=True)
class Example:
    """One English instruction with its worked response.

    Attributes:
        id: names the example in reports and errors, e.g. ``train.jsonl:17``.
        question: the instruction.
        response: what the LLM is to answer.
        answer: the bare final answer, where the source gives one.
    """

    id: str
    question: str
    response: str
    answer: str | None = None

    @property
    def source(self) -> str:
        """What the encoder reads where no words are switched."""
        return self.question


@dataclass(frozen=True)
class TranslatedExample(Example):
    """An English text with its translation; the response is empty where the source has none.

    Attributes:
        text: the translation.
        language: its code.
    """

    text: str = ""
    language: str = ""

    @property
    def source(self) -> str:
        """The translation."""
        return self.text


@dataclass(frozen=True)
class Task:
    """One text to be read and one to be said.

    Attributes:
        id: names the row in errors.
        source: what the encoder reads.
        target: what the LLM is to say.
        kind: which of the template's openers stands before it.
    """

    id: str
    source: str
    target: str
    kind: Target


@dataclass(frozen=True)
class Row:
    """One tokenised row, ready to be packed into a batch.

    Attributes:
        encoder_ids: the source text in the encoder's tokens, with whatever prefix and end tokens it wants.
        prompt_ids: the LLM's tokens between the soft tokens and the response, without loss: the whole prompt in
            layout ``soft+text``, only the opener in ``soft``.
        response_ids: the LLM's tokens that carry loss, end of sequence included; empty when generating.
    """

    encoder_ids: tuple[int, ...]
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
