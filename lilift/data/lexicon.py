"""Bilingual lexicons: English words and their translations, filtered, counted, and measured on the training text.

What published dictionaries get wrong is filtered here, each reason counted: identity pairs (91% of MUSE's Vietnamese file),
words of another script, notes in brackets, empty and overlong entries. A lexicon that is left with nothing is an error.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lilift.data.english import dictionary_forms
from lilift.data.languages import Language, language
from lilift.data.lexicon_files import Pair, read_pairs
from lilift.data.world import lexicon_path
from lilift.recipe.errors import DataError

MOST_WORDS = 3
"""Translations of more words are explanations rather than translations."""
FOREIGN_FILE = 0.9
"""A file with a larger share of words in another script is some other language's dictionary."""

_ENGLISH_WORD = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)*")
_NOTE = re.compile(r"(?:^|(?<=\s))[(\[{][^()\[\]{}]*[)\]}](?=\s|[,;.]|$)")
_BRACKET = re.compile(r"[()\[\]{}<>]")
_ALTERNATIVES = re.compile(r"\s*[,;/|،؛、]\s*")
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u2060\ufeff\u00ad\u200e\u200f"))  # joiners stay: Indic and Persian need them
_EDGES = ' \t\u00a0.!?¿¡।։。"“”„«»‘`*~_='


@dataclass(frozen=True, slots=True)
class Translation:
    """One translation of a word, and how often the source gives it."""

    text: str
    weight: float


@dataclass(frozen=True)
class Coverage:
    """How much of a text a lexicon can translate: words without digits, names left out."""

    tokens: int
    covered: int

    @property
    def share(self) -> float:
        """Covered tokens among all, 0 to 1."""
        return self.covered / self.tokens if self.tokens else 0.0


@dataclass(frozen=True)
class Lexicon:
    """English words with their translations into one language.

    Attributes:
        language: the language translated into.
        entries: lower-case English word → its translations, in the source's order.
        source: where it was read.
        pairs: how many pairs were kept.
        dropped: reason → how many were not.
    """

    language: Language
    entries: Mapping[str, tuple[Translation, ...]]
    source: str
    pairs: int
    dropped: Mapping[str, int] = field(default_factory=dict)

    def find(self, word: str) -> tuple[Translation, ...]:
        """Translations of a lower-case English word in whatever inflection; empty if there are none."""
        for form in dictionary_forms(word):
            found = self.entries.get(form)
            if found is not None:
                return found
        return ()

    def coverage(self, counts: Mapping[str, int]) -> Coverage:
        """How many of a text's words this lexicon can translate; `counts` from `lilift.data.english.count_words`."""
        return Coverage(sum(counts.values()), sum(count for word, count in counts.items() if self.find(word)))

    def as_json(self) -> dict[str, Any]:
        """The lexicon as plain JSON types, for `lexicon_from_json`."""
        entries = {word: [[item.text, item.weight] for item in found] for word, found in self.entries.items()}
        counts = {"pairs": self.pairs, "dropped": dict(self.dropped)}
        return {"language": self.language.code, "source": self.source, **counts, "entries": entries}


def lexicon_from_json(value: Mapping[str, Any]) -> Lexicon:
    """A lexicon that `Lexicon.as_json` wrote."""
    entries = {word: tuple(Translation(text, weight) for text, weight in found) for word, found in value["entries"].items()}
    return Lexicon(language(value["language"]), entries, value["source"], value["pairs"], value["dropped"])


def load_lexicon(location: str, code: str) -> Lexicon:
    """Read the lexicon of a language.

    Args:
        location: a file (MUSE, TSV, or a table with one column a language; gzipped or not), or ``world``.
        code: the language.

    Raises:
        DataError: unknown language, unreadable file, or nothing usable in it.
    """
    known = language(code)
    path = lexicon_path(code) if location == "world" else Path(location).expanduser()
    return build_lexicon(read_pairs(path, code), known, str(path))


def build_lexicon(pairs: Iterable[Pair], known: Language, source: str) -> Lexicon:
    """Filter pairs and count what was dropped, by reason.

    Raises:
        DataError: no pair is left, or nearly all are of another script.
    """
    dropped: Counter[str] = Counter()
    weights: dict[str, Counter[str]] = {}
    read = 0
    for pair in pairs:
        read += 1
        if pair.translation is None:
            dropped["malformed line"] += 1
            continue
        english = pair.english.strip().replace("’", "'")
        reason = _unusable_english(english)
        if reason:
            dropped[reason] += 1
            continue
        for text in _alternatives(pair.translation):
            translation = _as_swapped(english, text)
            reason = _unusable(english, translation, known)
            if reason:
                dropped[reason] += 1
            else:
                weights.setdefault(english.lower(), Counter())[translation] += 1
    if not weights:
        counts = ", ".join(f"{reason} {count}" for reason, count in dropped.most_common())
        raise DataError(
            f"no usable pair for {known.name} ({known.code}) among {read} read" + (f": {counts}" if counts else ""),
            where=source,
            remedy="give a dictionary of English and this language, English first",
        )
    kept = sum(map(len, weights.values()))
    if dropped["wrong script"] > FOREIGN_FILE * (kept + dropped["wrong script"]):
        raise DataError(
            f"{dropped['wrong script']} of {kept + dropped['wrong script']} translations are not written as {known.name} is",
            where=source,
            remedy=f"give the dictionary of {known.code}",
        )
    entries = {
        word: tuple(Translation(text, float(weight)) for text, weight in found.items()) for word, found in weights.items()
    }
    return Lexicon(known, entries, source, kept, dict(sorted(dropped.items())))


def _unusable_english(english: str) -> str | None:
    """Why an English entry cannot be found in a text word by word, or None if it can."""
    if not english:
        return "empty"
    if _ENGLISH_WORD.fullmatch(english):
        return None
    parts = english.replace("-", " ").split()
    return "several English words" if len(parts) > 1 and parts[0].isascii() else "not an English word"


def _alternatives(translation: str) -> list[str]:
    """A cell's translations, without notes in brackets; at least one, perhaps empty."""
    text = unicodedata.normalize("NFC", translation.translate(_INVISIBLE))
    return _ALTERNATIVES.split(" ".join(_NOTE.sub(" ", text).split()).strip(_EDGES))


def _as_swapped(english: str, translation: str) -> str:
    """The translation as it stands within a sentence: capital only where the English entry had none (German ``Haus``)."""
    text = translation.strip(_EDGES)
    return text[:1].lower() + text[1:] if english[0].isupper() and english != "I" else text


def _unusable(english: str, translation: str, known: Language) -> str | None:
    """Why a translation is dropped, or None if it is kept."""
    if not translation:
        return "empty"
    if translation.casefold() == english.casefold():
        return "identical"
    if _BRACKET.search(translation):
        return "brackets"
    if any(character.isdigit() for character in translation):
        return "digits"
    if translation.startswith("-") or translation.endswith("-"):
        return "affix"
    if len(translation.split()) > MOST_WORDS:
        return "too many words"
    return None if known.writes(translation) else "wrong script"
