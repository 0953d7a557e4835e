"""Bilingual lexicons: English words and their translations, filtered, counted, and measured on the training text.

A lexicon knows where each translation comes from and under which licence, and what was left out for which reason
(`lilift.data.lexicons.pair_filters`). One that is left with nothing is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lilift.data.languages import Language
from lilift.data.lexicons.dictionary_files import Pair
from lilift.data.lexicons.english_forms import dictionary_forms
from lilift.data.lexicons.letter_case import capitals_of, within_sentence
from lilift.data.lexicons.pair_filters import (
    DEFAULT_FILTERS,
    Filters,
    alternatives,
    clean_english,
    is_infinitive,
    mended,
    unusable_english,
    without_edges,
)
from lilift.recipe.errors import DataError

FOREIGN_FILE = 0.9
"""A file with a larger share of words in another script is some other language's dictionary."""
NOT_STATED = "not stated"
"""Licence of a source that names none."""
EXAMPLES = 3
"""Examples kept of what is left out for each reason."""
_LONGEST_EXAMPLE = 60
_LEAST_VERBS = 0.01
"""Share of entries such as ``to eat`` from which on a dictionary counts as one that writes verbs so."""


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
        skipped: comments and headers, which were never meant as pairs and are not counted in `read`.
        examples: reason → a few of the pairs left out.
        turned: whether the file has English on the right, and was read the other way round.
        lowered: whether the file is in capitals, and was put into lower case.
    """

    name: str
    location: str
    licence: str = NOT_STATED
    sha256: str = ""
    read: int = 0
    kept: int = 0
    mended: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    turned: bool = False
    lowered: bool = False

    def remarks(self) -> list[str]:
        """What a reader must know of how the file was read, a sentence each."""
        found = []
        if self.turned:
            found.append(f"{self.name} has English on the right: lilift read it the other way round")
        if self.lowered:
            found.append(f"{self.name} is written in capitals: lilift put its translations into lower case")
        return found


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
    turned: bool = False,
) -> Lexicon:
    """Filter pairs and count what was dropped, by reason.

    Args:
        pairs: as `lilift.data.lexicons.dictionary_files.read_dictionary` gives them.
        known: the language translated into.
        location: where the pairs were read.
        name: short name of the source; the location if left out.
        licence: of the content.
        filters: what to keep where tastes differ.
        turned: whether the file has English on the right.

    Raises:
        DataError: no pair is left, or nearly all are of another script.
    """
    label = name or location
    rows = list(pairs)
    cleaned = [(clean_english(pair.english), pair.translation) for pair in rows]
    verbs = sum(is_infinitive(english) for english, _ in cleaned)
    if verbs >= _LEAST_VERBS * len(cleaned):  # the dictionary writes its verbs so; in others, `to date` is a phrase
        cleaned = [(english[3:] if is_infinitive(english) else english, cell) for english, cell in cleaned]
    capitals = capitals_of((english, text) for english, text in cleaned if english and text)
    out, skipped = _LeftOut(), Counter[str]()
    weights: dict[str, dict[str, float]] = {}
    mends = 0
    for pair, (english, cell) in zip(rows, cleaned, strict=True):
        if pair.skipped:
            skipped[pair.skipped] += 1
            continue
        reason = "malformed line" if cell is None else unusable_english(english)
        if cell is None or reason:
            out.add(reason or "", pair.english, cell)
            continue
        for text in alternatives(cell):
            given = within_sentence(english, without_edges(text), capitals, known)
            translation = mended(given, known)
            reason = filters.unusable(english, translation, known)
            if reason:
                out.add(reason, pair.english, text)
            else:
                mends += translation != given
                known_weights = weights.setdefault(english.lower(), {})
                known_weights[translation] = known_weights.get(translation, 0.0) + pair.weight
    source = Source(
        label,
        location,
        licence,
        read=len(rows) - skipped.total(),
        kept=sum(map(len, weights.values())),
        mended=mends,
        dropped=dict(sorted(out.counts.items())),
        skipped=dict(sorted(skipped.items())),
        examples={reason: tuple(found) for reason, found in sorted(out.examples.items())},
        turned=turned,
        lowered=capitals.everywhere,
    )
    _require_usable(source, known)
    entries = {
        word: tuple(Translation(text, weight, label) for text, weight in found.items()) for word, found in weights.items()
    }
    return Lexicon(known, entries, (source,))


class _LeftOut:
    """Counts what is left out by reason, and keeps a few examples of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def add(self, reason: str, english: str, translation: str | None) -> None:
        self.counts[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            text = english if translation is None else f"{english} → {translation}"
            examples.append(text if len(text) <= _LONGEST_EXAMPLE else f"{text[:_LONGEST_EXAMPLE]}…")


def _require_usable(source: Source, known: Language) -> None:
    if not source.read and not source.skipped:
        raise DataError("the file is empty", where=source.location, remedy="give a dictionary of English and this language")
    if not source.kept:
        found = ", ".join(f"{reason} {count}" for reason, count in Counter(source.dropped).most_common())
        raise DataError(
            f"no usable pair for {known.name} ({known.code}) among {source.read} read" + (f": {found}" if found else ""),
            where=source.location,
            remedy="give a dictionary of English and this language",
        )
    foreign = source.dropped.get("wrong script", 0)
    if foreign > FOREIGN_FILE * (source.kept + foreign):
        raise DataError(
            f"{foreign} of {source.kept + foreign} translations are not written as {known.name} is",
            where=source.location,
            remedy=f"give the dictionary of {known.code}",
        )
