"""Writes translated instructions as files that `data.instructions` and `data.translations` read.

A line of JSON has `question` (translated), `response`, `english` (the question before translation) and, if the source has one,
`answer`.
Everything translated is in the cache, so the same command continues after an interruption.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lilift.data.texts.examples import Example
from lilift.recipe.interrupt import Interruption
from lilift.recipe.storage import whole_file
from lilift.translation.translate_texts import Translating
from lilift.translation.translation_cache import Translation

Column = Literal["question", "response"]
Flagged = Literal["drop", "keep"]


@dataclass(frozen=True)
class TranslatedFile:
    """What became of the instructions in one language.

    Attributes:
        path: the file.
        rows: its lines.
        dropped: reason → instructions left out.
    """

    path: Path
    rows: int
    dropped: dict[str, int]

    def line(self) -> str:
        """The counts in words."""
        dropped = ", ".join(f"{count:,} {reason}" for reason, count in self.dropped.items())
        return f"{self.path}: {self.rows:,} rows" + (f"; left out: {dropped}" if dropped else "")


def write_translated(
    examples: Sequence[Example],
    work: Translating,
    path: Path,
    *,
    columns: Sequence[Column] = ("question",),
    flagged: Flagged = "drop",
    progress: Callable[[int, int], None] | None = None,
    interruption: Interruption | None = None,
) -> TranslatedFile:
    """Translate instructions into one language and write them, in their order.

    Args:
        examples: the instructions.
        work: the translator and the two languages.
        path: the file; an old one is replaced when the new one is complete.
        columns: what to translate.
        flagged: what happens with a row whose translation lost a number or was cut.
        progress: called with the number of translated texts and of all texts.
        interruption: checked after each write to the cache.

    Raises:
        StoppedBySignal: the user asked to stop; the translations so far are in the cache.
        StorageError: the cache or the file cannot be written.
    """
    texts = [getattr(example, column) for example in examples for column in columns]
    found = work.translations(texts, progress=progress, interruption=interruption)
    dropped: Counter[str] = Counter()
    rows = 0
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for example in examples:
            mine = {column: found[getattr(example, column)] for column in columns}
            reason = _fault(list(mine.values()), flagged)
            if reason:
                dropped[reason] += 1
                continue
            line = {"question": example.question, "response": example.response, "english": example.question}
            line |= {column: translation.text for column, translation in mine.items()}
            if example.answer is not None:
                line["answer"] = example.answer
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            rows += 1
    return TranslatedFile(path, rows, dict(sorted(dropped.items())))


def _fault(translations: Sequence[Translation], flagged: Flagged) -> str:
    """Why a row is left out; empty if it stays."""
    if any(not one.text.strip() for one in translations):
        return "empty translation"
    if flagged == "drop" and any(not one.numbers_kept for one in translations):
        return "lost a number"
    if flagged == "drop" and any(not one.complete for one in translations):
        return "cut"
    return ""
