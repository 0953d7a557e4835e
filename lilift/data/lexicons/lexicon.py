"""Bilingual lexicons: English words and their translations, filtered, counted, and measured on the training text.

A lexicon knows where each translation comes from and under which licence, and what was left out for which reason
(`lilift.data.lexicons.pair_filters`). One that is left with nothing is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from lilift.data.languages import Language
from lilift.data.lexicons.dictionary_files import Pair
from lilift.data.lexicons.english_forms import dictionary_forms
from lilift.data.lexicons.pair_filters import (
    DEFAULT_FILTERS,
    Filters,
    alternatives,
    as_swapped,
    clean_english,
    mended,
    unusable_english,
)
from lilift.recipe.errors import DataError

FOREIGN_FILE = 0.9
"""A file with a larger share of words in another script is some other language's dictionary."""
NOT_STATED = "not stated"
"""Licence of a source that names none."""

Keep = Literal["first", "all"]


@dataclass(frozen=True, slots=True)
class Translation:
    """One translation of a word, how often the source gives it, and the name of that source."""

    text: str
    weight: float
    source: str = field(default="", compare=False)


@dataclass(frozen=True)
class Source:
    """Where pairs come from, and what became of them.

    Attributes:
        name: short name, such as ``muse``; translations refer to it.
        location: the file that was read.
        licence: of the content, as its publisher states it.
        sha256: of the file that was read; empty where it was not a file.
        read: pairs read.
        kept: pairs kept (a translation given twice is one pair of more weight).
        mended: translations with look-alike letters of another script, which were replaced.
        dropped: reason → translations left out.
    """

    name: str
    location: str
    licence: str = NOT_STATED
    sha256: str = ""
    read: int = 0
    kept: int = 0
    mended: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)


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
        sources: where they come from, the one that is preferred first.
    """

    language: Language
    entries: Mapping[str, tuple[Translation, ...]]
    sources: tuple[Source, ...]

    @property
    def source(self) -> str:
        """Where it was read."""
        return ", ".join(source.location for source in self.sources)

    @property
    def pairs(self) -> int:
        """How many pairs of an English word and a translation it has."""
        return sum(map(len, self.entries.values()))

    @property
    def dropped(self) -> dict[str, int]:
        """Reason → how many translations were left out, over all sources."""
        total: Counter[str] = Counter()
        for source in self.sources:
            total.update(source.dropped)
        return dict(sorted(total.items()))

    def find(self, word: str) -> tuple[Translation, ...]:
        """Translations of a lower-case English word in whatever inflection; empty if there are none."""
        return self.first_of(dictionary_forms(word))

    def first_of(self, forms: Iterable[str]) -> tuple[Translation, ...]:
        """Translations of the first of these forms that it has; empty if it has none."""
        for form in forms:
            found = self.entries.get(form)
            if found is not None:
                return found
        return ()

    def coverage(self, counts: Mapping[str, int]) -> Coverage:
        """How many of a text's words this lexicon can translate; `counts` comes from `english_forms.count_words`."""
        return Coverage(sum(counts.values()), sum(count for word, count in counts.items() if self.find(word)))


def build_lexicon(
    pairs: Iterable[Pair],
    known: Language,
    location: str,
    *,
    name: str | None = None,
    licence: str = NOT_STATED,
    filters: Filters = DEFAULT_FILTERS,
) -> Lexicon:
    """Filter pairs and count what was dropped, by reason.

    Args:
        pairs: as `lilift.data.lexicons.dictionary_files.read_pairs` gives them.
        known: the language translated into.
        location: where the pairs were read.
        name: short name of the source; the location if left out.
        licence: of the content.
        filters: what to keep where tastes differ.

    Raises:
        DataError: no pair is left, or nearly all are of another script.
    """
    label = name or location
    dropped: Counter[str] = Counter()
    weights: dict[str, dict[str, float]] = {}
    read = mends = 0
    for pair in pairs:
        read += 1
        if pair.translation is None:
            dropped["malformed line"] += 1
            continue
        english = clean_english(pair.english)
        reason = unusable_english(english)
        if reason:
            dropped[reason] += 1
            continue
        for text in alternatives(pair.translation):
            given = as_swapped(english, text)
            translation = mended(given, known)
            reason = filters.unusable(english, translation, known)
            if reason:
                dropped[reason] += 1
            else:
                mends += translation != given
                known_weights = weights.setdefault(english.lower(), {})
                known_weights[translation] = known_weights.get(translation, 0.0) + pair.weight
    kept = sum(map(len, weights.values()))
    source = Source(label, location, licence, read=read, kept=kept, mended=mends, dropped=dict(sorted(dropped.items())))
    _require_usable(source, known)
    entries = {
        word: tuple(Translation(text, weight, label) for text, weight in found.items()) for word, found in weights.items()
    }
    return Lexicon(known, entries, (source,))


def merge_lexicons(lexicons: Sequence[Lexicon], keep: Keep = "first") -> Lexicon:
    """One lexicon of several for the same language, the most trusted first.

    Args:
        lexicons: at least one.
        keep: ``first``: a word has the translations of the first lexicon that knows it, later ones fill gaps. ``all``: a word
            has every lexicon's translations; each lexicon has the same say, so what several agree on weighs more.

    Raises:
        DataError: they are for different languages, or two different sources have the same name.
    """
    known = lexicons[0].language
    for lexicon in lexicons:
        if lexicon.language != known:
            raise DataError(
                f"cannot merge a lexicon of {lexicon.language.name} with one of {known.name}",
                where=lexicon.source,
                remedy="merge lexicons of one language",
            )
    entries: dict[str, dict[str, Translation]] = {}
    for lexicon in lexicons:
        for word, found in lexicon.entries.items():
            if keep == "first":
                entries.setdefault(word, {item.text: item for item in found})
            else:
                _add_share(entries.setdefault(word, {}), found)
    merged = {word: tuple(found.values()) for word, found in entries.items()}
    return Lexicon(known, merged, _distinct_sources(lexicons))


def _add_share(into: dict[str, Translation], found: Sequence[Translation]) -> None:
    total = sum(item.weight for item in found)
    for item in found:
        before = into.get(item.text)
        weight = item.weight / total
        into[item.text] = replace(item, weight=weight) if before is None else replace(before, weight=before.weight + weight)


def _distinct_sources(lexicons: Sequence[Lexicon]) -> tuple[Source, ...]:
    by_name: dict[str, Source] = {}
    for lexicon in lexicons:
        for source in lexicon.sources:
            if by_name.setdefault(source.name, source) != source:
                raise DataError(
                    f"two different sources are called {source.name!r}",
                    where=source.location,
                    remedy="give one of them another --name when you import it",
                )
    return tuple(by_name.values())


def _require_usable(source: Source, known: Language) -> None:
    if not source.kept:
        found = ", ".join(f"{reason} {count}" for reason, count in Counter(source.dropped).most_common())
        raise DataError(
            f"no usable pair for {known.name} ({known.code}) among {source.read} read" + (f": {found}" if found else ""),
            where=source.location,
            remedy="give a dictionary of English and this language, English first",
        )
    foreign = source.dropped.get("wrong script", 0)
    if foreign > FOREIGN_FILE * (source.kept + foreign):
        raise DataError(
            f"{foreign} of {source.kept + foreign} translations are not written as {known.name} is",
            where=source.location,
            remedy=f"give the dictionary of {known.code}",
        )
