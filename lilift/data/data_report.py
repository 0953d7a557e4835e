"""What the data phase counts: rows by reason, the size and coverage of lexicons, and what tokenizers find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lilift.data.languages import language
from lilift.data.lexicons.lexicon import Coverage
from lilift.data.losses import warnings_of_rows
from lilift.data.texts.instructions import InstructionReport
from lilift.data.texts.monolingual import MonolingualReport
from lilift.data.texts.translations import TranslationReport


@dataclass(frozen=True)
class LexiconReport:
    """The size of a lexicon, and how much of the training text it covers."""

    source: str
    entries: int
    pairs: int
    dropped: Mapping[str, int]
    coverage: Coverage
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class TokenizerFindings:
    """What only the tokenizers can tell of the data.

    Attributes:
        long_rows: warnings of rows that are too long for the recipe's limits.
        control_tokens: how many rows spell out each control token, such as ``</s>``.
    """

    long_rows: tuple[str, ...] = ()
    control_tokens: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class DataReport:
    """Everything the data phase counted."""

    instructions: InstructionReport
    lexicons: Mapping[str, LexiconReport]
    translations: Mapping[str, TranslationReport]
    tokens: TokenizerFindings = TokenizerFindings()
    monolingual: Mapping[str, MonolingualReport] = field(default_factory=dict)

    @property
    def warnings(self) -> list[str]:
        """One line for each loss of more than 5%."""
        sources: list[InstructionReport | TranslationReport | MonolingualReport] = [
            self.instructions,
            *self.translations.values(),
            *self.monolingual.values(),
        ]
        lost = [line for found in sources for line in warnings_of_rows(found.source, found.read, found.dropped)]
        return [*lost, *self.tokens.long_rows]

    def as_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        lexicons = {
            code: asdict(report) | {"coverage": round(report.coverage.share, 4), "warnings": list(report.warnings)}
            for code, report in self.lexicons.items()
        }
        translations = {code: report.as_dict() for code, report in self.translations.items()}
        monolingual = {code: report.as_dict() for code, report in self.monolingual.items()}
        return {
            "instructions": self.instructions.as_dict(),
            "lexicons": lexicons,
            "translations": translations,
            "control_tokens": dict(self.tokens.control_tokens),
            "warnings": self.warnings,
        } | ({"monolingual": monolingual} if monolingual else {})

    def lines(self) -> list[str]:
        """The report as lines to print, one for each source."""
        found = self.instructions
        columns = ", ".join(f"{role} ← {column}" for role, column in found.columns.items())
        text = f"instructions: {found.kept:,} of {found.read:,} rows from {found.source} ({found.layout}: {columns})"
        lines = [text + _reasons(found.dropped)]
        if found.same_question:
            lines.append(f"  {found.same_question:,} of them have the same question as another row, but another response")
        if found.bare_numbers:
            lines.append(f"  {found.bare_numbers:,} of them have a bare number as response, which teaches no reasoning")
        lines += [f"  compared with {_compared(found, name, size)}" for name, size in found.benchmarks.items()]
        lines += [f"  not compared with {name}: {reason}" for name, reason in found.unchecked.items()]
        if self.tokens.control_tokens:
            spelled = ", ".join(f"{token} in {count:,}" for token, count in self.tokens.control_tokens.items())
            lines.append(f"  rows that spell out control tokens, which are read as text: {spelled}")
        for code, report in self.lexicons.items():
            lines.append(
                f"lexicon {code} ({language(code).name}): {report.entries:,} words, {report.pairs:,} pairs, "
                f"covers {report.coverage.share:.0%} of the text's words" + _reasons(report.dropped)
            )
            lines += [f"  warning: {text}" for text in report.warnings]
        for code, texts in self.translations.items():
            lines.append(
                f"translations {code}: {texts.kept:,} of {texts.read:,} rows from {texts.source}" + _reasons(texts.dropped)
            )
        for code, read in self.monolingual.items():
            whole = "" if read.whole else "; the recipe needs no more of the file"
            lines.append(
                f"text {code}: {read.kept:,} of {read.read:,} lines ({read.characters:,} characters, {read.documents:,} "
                f"{'document' if read.documents == 1 else 'documents'}) from {read.source}" + _reasons(read.dropped) + whole
            )
        return lines + self.warnings


def _reasons(dropped: Mapping[str, int]) -> str:
    found = ", ".join(f"{reason} {count:,}" for reason, count in sorted(dropped.items(), key=lambda item: -item[1]))
    return f"; left out: {found}" if found else ""


def _compared(found: InstructionReport, name: str, size: int) -> str:
    overlaps = found.contaminated.get(name, {})
    what = "left out" if f"in {name}" in found.dropped else "kept"
    text = ", ".join(f"{match} {count:,}" for match, count in overlaps.items())
    return f"the {size:,} questions of {name}: " + (f"{text}; {what}" if text else "no overlap")
