"""Splits a text into segments that a translator can read, and joins their translations in the same lines.

A segment is a run of whole sentences. Lines stay lines, with their blanks. A sentence that is too long is split after a comma,
then between words, then anywhere. Parts without a letter, such as ``12 + 5 = 17``, stay as they are.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

# Marks that end a sentence: with a blank after them, and those of scripts that need none.
_AFTER_SENTENCE = re.compile(r"(?<=[.!?…։።፧؟۔।॥။។])[\"'”’»)\]]*\s+|(?<=[。！？])(?![。！？」』”’）])")
_AFTER_CLAUSE = re.compile(r"(?<=[,;:،؛、，；：፣])\s+|(?<=[、，；：])")
_AFTER_WORD = re.compile(r"\s+")
_NO_BLANK_AFTER = "。！？、，；："
_HAS_LETTER = re.compile(r"[^\W\d_]")
_INNER = re.compile(r"^(\s*)(.*?)(\s*)$", re.DOTALL)

Count = Callable[[str], int]
"""How many tokens a text has."""


@dataclass(frozen=True)
class Segments:
    """A text as lines of segments.

    Attributes:
        lines: for each line its leading blanks, its segments, and its blanks at the end.
    """

    lines: tuple[tuple[str, tuple[str, ...], str], ...]

    @property
    def texts(self) -> list[str]:
        """The segments to translate, in order; those without a letter are left out."""
        return [segment for _, segments, _ in self.lines for segment in segments if _HAS_LETTER.search(segment)]

    def joined(self, translations: Sequence[str], *, space: str) -> str:
        """The text with a translation in place of each of `texts`.

        Args:
            translations: in the order of `texts`.
            space: stands between two segments of a line.
        """
        waiting = iter(translations)
        lines = []
        for before, segments, after in self.lines:
            parts = [next(waiting) if _HAS_LETTER.search(segment) else segment for segment in segments]
            lines.append(before + space.join(part for part in parts if part) + after)
        return "\n".join(lines)


def split_text(text: str, count: Count, longest: int, *, by_sentence: bool = False) -> Segments:
    """Split a text into lines of segments.

    Args:
        text: the text.
        count: counts tokens.
        longest: most tokens of a segment.
        by_sentence: give each sentence a segment of its own, even if several fit into one.
    """
    lines = []
    for line in text.split("\n"):
        found = _INNER.match(line)
        assert found is not None  # the pattern matches every line
        before, inner, after = found.groups()
        lines.append((before, tuple(_segments(inner, count, longest, by_sentence)), after))
    return Segments(tuple(lines))


def _segments(line: str, count: Count, longest: int, by_sentence: bool) -> Iterator[str]:
    if not line:
        return
    if not by_sentence and count(line) <= longest:
        yield line
        return
    sentences = [
        piece for start, end in _spans(line, _AFTER_SENTENCE) for piece in _fitting(line[start:end].strip(), count, longest)
    ]
    yield from sentences if by_sentence else _packed(sentences, count, longest)


def _spans(text: str, after: re.Pattern[str]) -> list[tuple[int, int]]:
    """The parts of a text between the places that a pattern finds; what the pattern reads is at the end of a part."""
    ends = [match.end() for match in after.finditer(text)]
    cuts = [0, *(end for end in ends if 0 < end < len(text)), len(text)]
    return list(itertools.pairwise(cuts))


def _fitting(text: str, count: Count, longest: int) -> Iterator[str]:
    """The text, or parts of it that are short enough."""
    if count(text) <= longest or len(text) < 2:
        yield text
        return
    # Halves keep the parts even, and every half is shorter than the text.
    spans = next((found for after in (_AFTER_CLAUSE, _AFTER_WORD) if len(found := _spans(text, after)) > 1), None)
    place = spans[len(spans) // 2][0] if spans else len(text) // 2
    for half in (text[:place].strip(), text[place:].strip()):
        yield from _fitting(half, count, longest)


def _packed(sentences: Sequence[str], count: Count, longest: int) -> Iterator[str]:
    """Neighbouring sentences together, as many as fit."""
    together = ""
    for sentence in sentences:
        space = "" if not together or together[-1] in _NO_BLANK_AFTER else " "
        joined = together + space + sentence
        if together and count(joined) > longest:
            yield together
            joined = sentence
        together = joined
    if together:
        yield together
