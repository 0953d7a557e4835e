"""Finds training texts that are also in a benchmark: texts with the same words, or with thirteen words in a row in common.

A benchmark says nothing about a model that has read its questions in training. lilift compares texts by their words, without
case, punctuation and spaces. GPT-3 was also checked with runs of thirteen words (arXiv 2005.14165, appendix C).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

RUN = 13
"""Number of words in a row that two texts hardly ever share by chance."""

_WORD = re.compile(r"\w+")
Match = Literal["same text", "13 words in a row"]


@dataclass(frozen=True)
class Overlap:
    """A benchmark that contains a text, and how the text matches."""

    benchmark: str
    match: Match


class HeldOut:
    """Texts that must not be trained on.

    Args:
        texts: benchmark → its questions.
        unchecked: benchmark → the reason why lilift could not read its questions, for the report.
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
        # The first and last words alone rule out most runs of a text, so lilift does not join all thirteen words of each.
        self._ends = {(run[: run.index(" ")], run[run.rindex(" ") + 1 :]) for run in self._runs}

    def find(self, text: str) -> Overlap | None:
        """The benchmark with which a text overlaps, or None."""
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
    """The words of a text in the form in which texts are compared."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _WORD.findall(text.casefold())
