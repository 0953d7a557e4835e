"""The parts of a run's data: English instructions, and the tokens of one row of training or generation."""

from __future__ import annotations

from dataclasses import dataclass

from lilift.recipe.schema import Target


@dataclass(frozen=True)
class Example:
    """One English instruction with its worked response.

    Attributes:
        id: names the example in reports and errors, e.g. ``train.jsonl:17``.
        question: the instruction.
        response: the text that the LLM learns to answer.
        answer: the bare final answer, if the source gives one.
    """

    id: str
    question: str
    response: str
    answer: str | None = None

    @property
    def source(self) -> str:
        """The text that the encoder reads if no words are switched."""
        return self.question

    @property
    def source_language(self) -> str:
        """The code of the language of `source`."""
        return "en"


@dataclass(frozen=True)
class TranslatedExample(Example):
    """An English text with its translation; the response is empty if the source has none.

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

    @property
    def source_language(self) -> str:
        """The language of the translation."""
        return self.language


@dataclass(frozen=True)
class Task:
    """A text for the encoder and the text that the LLM learns to write for it.

    Attributes:
        id: names the row in errors.
        source: the text for the encoder.
        target: the text that the LLM learns to write.
        kind: which of the template's openers stands before the target.
        language: the code of the language that the source is written in. A code-switched text is English.
    """

    id: str
    source: str
    target: str
    kind: Target
    language: str = "en"


@dataclass(frozen=True)
class Row:
    """One tokenised row, ready for a batch.

    Attributes:
        encoder_ids: the source text in the encoder's tokens, with its prefix and end tokens.
        prompt_ids: the LLM's tokens between the soft tokens and the response, without loss: the whole prompt in
            layout ``soft+text``, only the opener in ``soft``.
        response_ids: the LLM's tokens that carry loss, end of sequence included; empty in generation.
    """

    encoder_ids: tuple[int, ...]
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
