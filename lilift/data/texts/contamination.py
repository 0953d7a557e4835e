"""Training texts that are in a benchmark: found by the same words, or by thirteen of them in a row.

A model that has read a benchmark's questions is not measured by them. Texts are compared as words, without case, punctuation
and spacing. Runs of thirteen words are what GPT-3 was checked with (arXiv 2005.14165, appendix C).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

RUN = 13
"""Words in a row that two texts do not share by chance."""

_WORD = re.compile(r"\w+")
Match = Literal["same text", "13 words in a row"]


@dataclass(frozen=True)
class Overlap:
    """A benchmark that a text is in, and how."""

    benchmark: str
    match: Match


class HeldOut:
    """Texts that training must not see.

    Args:
        texts: benchmark → its questions.
        unchecked: benchmark → why its questions are not known, for the report.
    """

    def __init__(self, texts: Mapping[str, Iterable[str]], unchecked: Mapping[str, str] | None = None) -> None:
        self.unchecked = dict(unchecked or {})
        self.sizes: dict[str, int] = {}
        self._texts: dict[str, str] = {}
        self._runs: dict[str, str] = {}
        for name, questions in texts.items():
            self.sizes[name] = 0
            for question in questions:
                found = normalised_words(question)
                self.sizes[name] += 1
                self._texts.setdefault(" ".join(found), name)
                for start in range(len(found) - RUN + 1):
                    self._runs.setdefault(" ".join(found[start : start + RUN]), name)
        # Most runs of a text are told apart by their first and last words alone, without joining all thirteen.
        self._ends = {(run[: run.index(" ")], run[run.rindex(" ") + 1 :]) for run in self._runs}

    def find(self, text: str) -> Overlap | None:
        """The benchmark that a text overlaps with, or None."""
        if not self._texts:
            return None
        found = normalised_words(text)
        name = self._texts.get(" ".join(found))
        if name is not None:
            return Overlap(name, "same text")
        for start, ends in enumerate(zip(found, found[RUN - 1 :], strict=False)):
            if ends in self._ends:
                name = self._runs.get(" ".join(found[start : start + RUN]))
                if name is not None:
                    return Overlap(name, "13 words in a row")
        return None


def normalised_words(text: str) -> list[str]:
    """The words of a text as they are compared."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _WORD.findall(text.casefold())
