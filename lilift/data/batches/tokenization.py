"""Tokenizes texts into rows, and counts the texts that were too long.

Training and generation have the same border between prompt and target. lilift tokenizes the prompt separately, without special
tokens. The target consists of the tokens of ``" " + target`` *in their form after the opener*, then the end of sequence. See
`continuation_ids`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

from lilift.data.batches.batching import SequenceShape
from lilift.data.batches.control_tokens import ControlTokens
from lilift.data.batches.token_cache import TokenCache, Tokenise, identity_of
from lilift.data.composed_text import composed
from lilift.data.languages import script_of
from lilift.data.texts.examples import Row, Task
from lilift.data.texts.prompt_templates import Template
from lilift.recipe.errors import DataError, ModelError
from lilift.recipe.schema import Layout, OverLength, Target


class SourceTokenizer(Protocol):
    """What lilift needs of the encoder's tokenizer."""

    @property
    def unknown_id(self) -> int | None:
        """The token for text that is not in the vocabulary, or None."""

    def encode(self, text: str, max_tokens: int | None = None) -> list[int]:
        """The tokens of a text with the encoder's own prefix and end tokens; these stay if the text is cut to `max_tokens`."""


@runtime_checkable
class TakesLanguages(Protocol):
    """A tokenizer that may announce the language of a text."""

    @property
    def source_languages(self) -> Any:
        """The languages that it can announce; None if it announces none."""

    def in_language(self, language: str | None) -> SourceTokenizer:
        """The same tokenizer for texts in a language (lilift's code); None means its default language."""


class LLMTokenizer(Protocol):
    """What lilift needs of the LLM's tokenizer: a part of the tokenizers of transformers."""

    eos_token_id: int | None

    def __call__(self, text: list[str], *, add_special_tokens: bool, verbose: bool) -> Any: ...


@dataclass
class LengthReport:
    """How many rows were read, kept, dropped and truncated, and the longest lengths."""

    read: int = 0
    kept: int = 0
    dropped_source: int = 0
    dropped_sequence: int = 0
    truncated_source: int = 0
    truncated_response: int = 0
    longest_source: int = 0
    longest_sequence: int = 0

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


@dataclass(frozen=True)
class Limits:
    """How long a row may be, and what happens to a longer row.

    Attributes:
        source: longest source text in encoder tokens.
        sequence: longest packed sequence in the LLM, including soft tokens, boundary vectors and BOS.
        policy: `drop` and count, `truncate` and count, or stop with an `error`.
    """

    source: int
    sequence: int
    policy: OverLength


def continuation_ids(llm: ControlTokens, opener: str, targets: Sequence[str], separator: str = " ") -> list[tuple[int, ...]]:
    """The tokens of each target after `opener`, without end of sequence; control tokens that a target spells out are text.

    lilift tokenizes the opener, one space and the target together, and removes the tokens of the opener. For byte-level BPE,
    the tokens of ``" " + target`` alone would be the same. But SentencePiece models put their own space before every text, so
    the target would begin with two spaces. If a token spans the border (the joint text does not begin with the opener's
    tokens), lilift tokenizes the target alone.
    """
    opener_ids = llm.encode([opener])[0]
    joint = llm.encode([f"{opener}{separator}{llm.mark(target.strip())}" for target in targets])
    found = [tuple(ids[len(opener_ids) :]) for ids in joint]
    spanned = [index for index, ids in enumerate(joint) if ids[: len(opener_ids)] != opener_ids]
    alone = llm.encode([separator + llm.mark(targets[index].strip()) for index in spanned])
    for index, ids in zip(spanned, alone, strict=True):
        found[index] = tuple(ids)
    return found


@dataclass
class Tokenisation:
    """Turns texts into rows for one pair of encoder and LLM.

    Attributes:
        encoder: the encoder's tokenizer.
        llm: the LLM's tokenizer.
        template: the prompt template.
        layout: whether the LLM sees the text of the question.
        shape: what the alignment layer adds to a sequence.
        has_llm_bos: whether a row begins with the LLM's BOS.
        limits: how long a row may be.
        cache: the cache of tokens; without one, a text is tokenized each time.
        adds_end: whether a response to train on ends with the LLM's end-of-sequence token.
        report: the counts so far; `rows` and `prompts` add to them.
    """

    encoder: SourceTokenizer
    llm: LLMTokenizer
    template: Template
    layout: Layout
    shape: SequenceShape
    has_llm_bos: bool
    limits: Limits
    cache: TokenCache | None = None
    adds_end: bool = True
    report: LengthReport = field(default_factory=LengthReport)

    def __post_init__(self) -> None:
        self.control_tokens = ControlTokens(self.llm)
        self._readers: dict[str | None, SourceTokenizer] = {}
        self._llm_identity = identity_of(self.llm) if self.cache else None

    @property
    def announces_languages(self) -> bool:
        """Whether the encoder's tokens depend on the language of a text."""
        return isinstance(self.encoder, TakesLanguages) and self.encoder.source_languages is not None

    def rows(self, tasks: Sequence[Task]) -> list[Row | None]:
        """Rows to train on, in the order of the tasks; None for a row that the policy drops.

        Raises:
            DataError: a row has no source or target text, or is too long with the policy `error`, or would have no label left.
            ModelError: the LLM's tokenizer has no end-of-sequence token.
        """
        for task in tasks:
            if not task.source.strip() or not task.target.strip():
                part = "question" if not task.source.strip() else "response"
                raise DataError(f"the {part} is empty, so nothing can be learned", where=task.id, remedy="remove the row")
        if self.llm.eos_token_id is None:
            raise ModelError(
                "the LLM's tokenizer has no end-of-sequence token", remedy="set `eos_token` in its tokenizer_config.json"
            )
        sources = self._sources(tasks)
        prompts = self._prompts([(task.source, task.kind) for task in tasks])
        responses = self._responses(tasks)
        end = (self.llm.eos_token_id,) if self.adds_end else ()
        return [
            self._fit(task, Row(source, prompt, (*response, *end)))
            for task, source, prompt, response in zip(tasks, sources, prompts, responses, strict=True)
        ]

    def prompts(self, questions: Sequence[str], language: str | None = None) -> list[Row]:
        """Rows for generation, in the order of the questions. A question that is too long is cut and counted, never dropped.

        Args:
            questions: any texts.
            language: the code of their language; None if it is not known.
        """
        prompts = self._prompts([(question, "respond") for question in questions])
        rows = []
        for question, prompt in zip(questions, prompts, strict=True):
            source = self._reader(language).encode(self.template.source(question))
            self._count(len(source))
            rows.append(Row(self._cut_source(question, language, tuple(source)), prompt, ()))
            self.report.kept += 1
        return rows

    def _prompts(self, questions: Iterable[tuple[str, Target]]) -> list[tuple[int, ...]]:
        mark = self.control_tokens.mark
        texts = [self.template.prompt(mark(composed(question)), self.layout, kind) for question, kind in questions]
        return self._remembered(self._llm_identity, "prompt", texts, self.control_tokens.encode)

    def _reader(self, language: str | None) -> SourceTokenizer:
        """The encoder's tokenizer for texts in a language."""
        if language not in self._readers:
            encoder = self.encoder
            self._readers[language] = encoder.in_language(language) if isinstance(encoder, TakesLanguages) else encoder
        return self._readers[language]

    def _sources(self, tasks: Sequence[Task]) -> list[tuple[int, ...]]:
        found: list[tuple[int, ...]] = [()] * len(tasks)
        for language in dict.fromkeys(task.language for task in tasks):
            reader = self._reader(language)
            chosen = [index for index, task in enumerate(tasks) if task.language == language]
            texts = [self.template.source(tasks[index].source) for index in chosen]
            identity = identity_of(reader) if self.cache else None
            for index, ids in zip(chosen, self._encoded(reader, identity, texts), strict=True):
                found[index] = ids
        return found

    def _encoded(self, reader: SourceTokenizer, identity: str | None, texts: list[str]) -> list[tuple[int, ...]]:
        return self._remembered(identity, "source", texts, lambda missing: map(reader.encode, missing))

    def _responses(self, tasks: Sequence[Task]) -> list[tuple[int, ...]]:
        found: list[tuple[int, ...]] = [()] * len(tasks)
        for kind, opener in self.template.openers.items():
            chosen = [index for index, task in enumerate(tasks) if task.kind == kind]
            if chosen:
                tokens = self._targets(opener, [tasks[index].target for index in chosen])
                for index, ids in zip(chosen, tokens, strict=True):
                    found[index] = ids
        return found

    def _targets(self, opener: str, texts: list[str]) -> list[tuple[int, ...]]:
        separator = self.template.separator
        return self._remembered(
            self._llm_identity,
            f"target {(opener, separator)}",
            texts,
            lambda missing: continuation_ids(self.control_tokens, opener, missing, separator),
        )

    def _remembered(self, tokenizer: str | None, purpose: str, texts: list[str], tokenise: Tokenise) -> list[tuple[int, ...]]:
        """The tokens of each text; equal texts are tokenized once, and texts in the cache are not tokenized."""
        if self.cache is not None and tokenizer is not None:
            return self.cache.tokens(f"{tokenizer} {purpose}", texts, tokenise)
        distinct = list(dict.fromkeys(texts))
        ids = dict(zip(distinct, map(tuple, tokenise(distinct)), strict=True))
        return [ids[text] for text in texts]

    def _fit(self, task: Task, row: Row) -> Row | None:
        """The row within the limits, or None if the policy drops it; counts it in the report."""
        limits, report = self.limits, self.report
        self._count(len(row.encoder_ids))
        source_too_long = len(row.encoder_ids) > limits.source
        if source_too_long and limits.policy == "drop":
            report.dropped_source += 1
            return None
        if source_too_long and limits.policy == "error":
            raise self._too_long(task, len(row.encoder_ids), limits.source, "source text", "encoder.max_tokens")
        row = Row(self._cut_source(task.source, task.language, row.encoder_ids), row.prompt_ids, row.response_ids)

        length = self.shape.packed_length(row, has_llm_bos=self.has_llm_bos)
        report.longest_sequence = max(report.longest_sequence, length)
        excess = length - limits.sequence
        if excess > 0 and limits.policy == "drop":
            report.dropped_sequence += 1
            return None
        if excess > 0 and limits.policy == "error":
            raise self._too_long(task, length, limits.sequence, "whole sequence", "data.max_tokens")
        if excess > 0:
            row = self._cut_response(task, row, excess)
        report.kept += 1
        return row

    def _count(self, source_length: int) -> None:
        self.report.read += 1
        self.report.longest_source = max(self.report.longest_source, source_length)

    def _cut_source(self, text: str, language: str | None, ids: tuple[int, ...]) -> tuple[int, ...]:
        """The source, cut to the limit and counted if it is longer."""
        if len(ids) <= self.limits.source:
            return ids
        self.report.truncated_source += 1
        return tuple(self._reader(language).encode(self.template.source(text), self.limits.source))

    def _cut_response(self, task: Task, row: Row, excess: int) -> Row:
        """The row without its last `excess` tokens; it has no end of sequence, so the LLM does not learn to stop there."""
        kept = row.response_ids[: len(row.response_ids) - excess]
        if not kept:
            raise DataError(
                f"source and prompt fill all {self.limits.sequence} tokens of data.max_tokens, so no response token is left",
                where=task.id,
                remedy="set data.max_tokens higher or encoder.max_tokens lower, or set data.over_length to drop",
            )
        self.report.truncated_response += 1
        return Row(row.encoder_ids, row.prompt_ids, kept)

    @staticmethod
    def _too_long(task: Task, length: int, limit: int, part: str, setting: str) -> DataError:
        return DataError(
            f"the {part} has {length} tokens, more than the {limit} of {setting}",
            where=task.id,
            remedy=f"set {setting} higher, or set data.over_length to drop or truncate",
        )


def unknown_by_script(encoder: SourceTokenizer, texts: Iterable[str]) -> dict[str, tuple[int, int]]:
    """How much of some texts the encoder cannot read: script → (number of tokens, number of unknown tokens).

    A word counts for the script of its first letter (ISO 15924). Equal words are tokenized once.
    """
    counts = Counter(word for text in texts for word in text.split())
    frame = len(encoder.encode(""))
    tokens: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for word, count in counts.items():
        ids = encoder.encode(word)
        script = script_of(word)
        tokens[script] += (len(ids) - frame) * count
        unknown[script] += sum(token == encoder.unknown_id for token in ids) * count
    return {script: (tokens[script], unknown[script]) for script in sorted(tokens)}
