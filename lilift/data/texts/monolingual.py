"""Running text in one language, for continued pretraining: lines of a text file, where a blank line ends a document.

The files of OPUS, Leipzig Corpora, OSCAR and one's own collections come in this form. A line that stands there twice, has no
letter of the language's scripts, or is in a benchmark is left out; every other line comes through letter for letter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lilift.data.composed_text import composed
from lilift.data.languages import language
from lilift.data.text_files import read_lines
from lilift.data.texts.contamination import HeldOut
from lilift.recipe.errors import DataError
from lilift.recipe.schema import Recipe

Document = list[str]
"""The lines of a document."""
BYTES_PER_TOKEN = 16
"""So many bytes of text are kept for each token of a budget. No tokenizer in use needs as many; a file may be much larger."""


@dataclass
class MonolingualReport:
    """How many lines of one language's text were read, kept and left out, and why.

    Attributes:
        whole: whether the file was read to its end; if not, what was kept is more than enough for the budget.
        documents, characters: of what was kept.
    """

    source: str
    read: int = 0
    kept: int = 0
    documents: int = 0
    characters: int = 0
    whole: bool = True
    dropped: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        return asdict(self)


def load_monolingual(
    location: str, code: str, *, tokens: int | None = None, held_out: HeldOut | None = None, drop_contaminated: bool = True
) -> tuple[list[Document], MonolingualReport]:
    """Read the text of a language.

    Args:
        location: a text file, which may be compressed.
        code: the language.
        tokens: what is needed of it; None for all.
        held_out: what must not be trained on.
        drop_contaminated: leave out lines that overlap with it.

    Raises:
        DataError: the file cannot be read, or no line is usable.
    """
    report = MonolingualReport(location)
    known = language(code)
    dropped: Counter[str] = Counter()
    seen: set[int] = set()
    documents: list[Document] = [[]]
    room = None if tokens is None else BYTES_PER_TOKEN * tokens
    for _, raw in read_lines(Path(location).expanduser(), recode=True):
        line = composed(raw.strip())
        if not line:
            if documents[-1]:
                documents.append([])
            continue
        if room is not None and room <= 0:
            report.whole = False
            break
        report.read += 1
        reason = None if known.writes_any(line) else "wrong script"
        if reason is None and hash(line) in seen:
            reason = "repeated"
        if reason is None and held_out is not None and drop_contaminated:
            overlap = held_out.find(line)
            reason = f"in {overlap.benchmark}" if overlap else None
        if reason is not None:
            dropped[reason] += 1
            continue
        seen.add(hash(line))
        documents[-1].append(line)
        report.kept += 1
        report.characters += len(line)
        room = None if room is None else room - len(line.encode("utf-8"))
    report.dropped = dict(sorted(dropped.items()))
    kept = [lines for lines in documents if lines]
    report.documents = len(kept)
    if not kept:
        counts = ", ".join(f"{reason} {count}" for reason, count in dropped.most_common()) or "the file is empty"
        raise DataError(
            f"none of {report.read} lines is usable as text in {known.name} ({counts})",
            where=location,
            remedy="name a text file with sentences or paragraphs of this language",
        )
    return kept, report


def require_running_text(recipe: Recipe) -> None:
    """Check that the files of running text exist, for continued pretraining or for adapting the encoder.

    Raises:
        DataError: one does not.
    """
    setting = "data.monolingual.files" if recipe.uses_monolingual else "encoder.adapt.text"
    for code, location in recipe.running_text.items():
        if not Path(location).expanduser().is_file():
            raise DataError(
                f"there is no text file of {language(code).name} ({code})",
                where=location,
                remedy=f"put one there, or name another with {setting}",
            )


def as_text(documents: Iterable[Document]) -> str:
    """Documents as the text of a file, with a blank line after each."""
    return "".join("\n".join(lines) + "\n\n" for lines in documents)


@dataclass(frozen=True)
class DocumentFile(Iterable[Document]):
    """The documents of a file of `as_text`, read from disk one by one.

    Iterating raises a `DataError` if the file cannot be read.
    """

    path: Path

    def __iter__(self) -> Iterator[Document]:
        lines: Document = []
        for _, line in read_lines(self.path):
            if line:
                lines.append(line)
            elif lines:
                yield lines
                lines = []
