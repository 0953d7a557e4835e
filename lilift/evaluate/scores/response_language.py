"""Detects the language of a response: the language of the question, English, or neither.

Language detection libraries know about a hundred languages, but not Oromo, Lingala or Fijian, for which lilift exists. Each
response has only two candidates, and the questions of the benchmark are samples of both. So lilift looks at the script of the
letters first. If both languages use this script, character trigrams decide which one is more likely (naive Bayes; Cavnar and
Trenkle 1994 for trigrams).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Literal

import regex

from lilift.data.languages import language as known_language

ResponseLanguage = Literal["asked", "english", "other", "none"]
RESPONSE_LANGUAGES: tuple[ResponseLanguage, ...] = ("asked", "english", "other", "none")
_FEWEST_LETTERS = 4
_READ = 400  # characters at the beginning of a response that are examined
_NOT_LETTERS = regex.compile(r"[^\p{L}\p{M}]+")


class LanguageGuesser:
    """Distinguishes each language from English.

    Args:
        samples: ordinary text by language code, English included.
    """

    def __init__(self, samples: Mapping[str, Iterable[str]]) -> None:
        self._profiles = {code: _Profile(texts) for code, texts in samples.items()}

    def guess(self, response: str, asked: str) -> ResponseLanguage:
        """The language of a response to a question in the language `asked`; `none` if it has hardly any letters."""
        text = _words(response[:_READ])
        letters = len(text.replace(" ", ""))
        if letters < _FEWEST_LETTERS:
            return "none"
        if asked == "en":
            return "english" if _share_written(text, "en") > 0.5 else "other"
        own, english = _share_written(text, asked), _share_written(text, "en")
        if max(own, english) <= 0.5:
            return "other"
        if own <= 0.5 or english <= 0.5:
            return "asked" if own > english else "english"
        likelier = self._profiles[asked].likelihood(text) > self._profiles["en"].likelihood(text)
        return "asked" if likelier else "english"


class _Profile:
    """How often each trigram of characters occurs in a language."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._counts = Counter(trigram for text in texts for trigram in _trigrams(_words(text)))
        self._total = sum(self._counts.values())

    def likelihood(self, text: str) -> float:
        """Log likelihood of a text; a trigram that was never seen counts as half an occurrence."""
        return sum(math.log((self._counts[trigram] + 0.5) / (self._total + 1)) for trigram in _trigrams(text))


def _words(text: str) -> str:
    """The words of a text in lower case, with one space between them, without digits and punctuation."""
    return str(_NOT_LETTERS.sub(" ", text).strip().lower())


def _trigrams(text: str) -> Iterable[str]:
    padded = f" {text} "
    return (padded[start : start + 3] for start in range(len(padded) - 2))


def _share_written(text: str, code: str) -> float:
    """The share of words that are in a script of the language."""
    words = text.split()
    return sum(_writes(word, code) for word in words) / len(words)


@cache
def _writes(word: str, code: str) -> bool:
    return known_language(code).writes(word)
