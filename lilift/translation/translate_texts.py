"""Translates many texts once: looks into the cache, guards the numbers, tries flagged texts again, and keeps every result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from lilift.data.languages import languages
from lilift.recipe.interrupt import AGAIN, Interruption
from lilift.translation.number_guard import lost_numbers
from lilift.translation.text_segments import Segments
from lilift.translation.translation_cache import Translation, TranslationCache, translations_folder
from lilift.translation.translator import BATCH_TOKENS, Translator
from lilift.translation.translator_languages import TranslatorLanguage

MORE_BEAMS = 2
"""The second try of a text has this many times more beams."""
_GROUP_TOKENS = 4 * BATCH_TOKENS
"""About how many tokens lilift translates between two writes to the cache."""


@dataclass
class TranslationCounts:
    """What became of some texts.

    Attributes:
        texts: different texts.
        from_cache: of these, translated before.
        tried_again: translated a second time, because the first translation had lost a number or was cut.
        saved: of these, the second translation is right.
        lost_numbers: the translation lacks a number of the text.
        cut: the translation was stopped at its longest length.
    """

    texts: int = 0
    from_cache: int = 0
    tried_again: int = 0
    saved: int = 0
    lost_numbers: int = 0
    cut: int = 0

    def add(self, translation: Translation) -> None:
        """Count a translation."""
        right = translation.numbers_kept and translation.complete
        self.texts += 1
        self.tried_again += translation.tried_again
        self.saved += translation.tried_again and right
        self.lost_numbers += not translation.numbers_kept
        self.cut += not translation.complete

    def line(self) -> str:
        """The counts in words."""
        cached = f", {self.from_cache:,} of them from the cache" if self.from_cache else ""
        again = f"; {self.tried_again:,} translated twice, {self.saved:,} of them then right" if self.tried_again else ""
        faults = f"{self.lost_numbers:,} lost a number, {self.cut:,} were cut"
        return f"{self.texts:,} texts{cached}{again}; {faults}"


@dataclass
class Translating:
    """A translator for one pair of languages, with its cache.

    Attributes:
        translator: the model.
        source: the language of the texts.
        target: the language to translate into.
        beam_size: hypotheses that compete.
        cache: keeps translations; by default a file in the user's cache folder.
        counts: of all texts so far.
    """

    translator: Translator
    source: TranslatorLanguage
    target: TranslatorLanguage
    beam_size: int
    cache: TranslationCache | None = None
    counts: TranslationCounts = field(default_factory=TranslationCounts)

    def __post_init__(self) -> None:
        if self.cache is None:
            names = [language.token.strip("_<>") or language.code for language in (self.source, self.target)]
            folder = translations_folder() / f"{self.translator.digest}-beam{self.beam_size}"
            self.cache = TranslationCache(folder / f"{'-'.join(names)}.sqlite")

    def translations(
        self,
        texts: Sequence[str],
        *,
        progress: Callable[[int, int], None] | None = None,
        interruption: Interruption | None = None,
    ) -> dict[str, Translation]:
        """A translation of every text, by text. An empty text stays empty.

        Args:
            texts: may repeat.
            progress: called with the number of translated texts and of all texts.
            interruption: checked after each write to the cache.

        Raises:
            StoppedBySignal: the user asked to stop; the translations so far are in the cache.
            StorageError: the cache cannot be read or written.
        """
        assert self.cache is not None
        different = list(dict.fromkeys(texts))
        found = {text: Translation(text) for text in different if not text.strip()}
        found |= self.cache.get([text for text in different if text not in found])
        self.counts.from_cache += sum(bool(text.strip()) for text in found)
        waiting = [text for text in different if text not in found]
        for group in self._groups(waiting):
            new = self._translated(group)
            self.cache.add(new)
            found |= new
            if progress is not None:
                progress(len(found), len(different))
            if interruption is not None and interruption.requested:
                raise interruption.stop(
                    f"stopped after {len(found)} of {len(different)} translations, which are kept",
                    AGAIN,
                )
        for text in different:
            if text.strip():
                self.counts.add(found[text])
        return found

    def _groups(self, texts: Sequence[str]) -> Iterator[list[str]]:
        """The texts, longest first, in groups of about `_GROUP_TOKENS` tokens."""
        group: list[str] = []
        size = 0
        for text in sorted(texts, key=lambda text: (-len(text), text)):
            group.append(text)
            size += len(text.encode()) // 3 + 2
            if size >= _GROUP_TOKENS:
                yield group
                group, size = [], 0
        if group:
            yield group

    def _translated(self, texts: Sequence[str]) -> dict[str, Translation]:
        first = self._attempt(texts, [self.translator.split(text) for text in texts], self.beam_size)
        flagged = [text for text, one in first.items() if not (one.numbers_kept and one.complete)]
        if not flagged:
            return first
        segments = [self.translator.split(text, by_sentence=True) for text in flagged]
        second = self._attempt(flagged, segments, MORE_BEAMS * self.beam_size)
        for text, one in second.items():
            better = one if _rank(one) > _rank(first[text]) else first[text]
            first[text] = Translation(better.text, better.numbers_kept, better.complete, tried_again=True)
        return first

    def _attempt(self, texts: Sequence[str], split: Sequence[Segments], beam_size: int) -> dict[str, Translation]:
        parts = [segment for segments in split for segment in segments.texts]
        done = iter(self.translator.translate(parts, self.source, self.target, beam_size=beam_size))
        known = languages().get(self.target.code)
        space = " " if known is None or known.puts_spaces_between_words else ""
        found = {}
        for text, segments in zip(texts, split, strict=True):
            mine = [next(done) for _ in segments.texts]
            joined = segments.joined([one.text for one in mine], space=space)
            lost = lost_numbers(text, self.source.code, joined, self.target.code)
            found[text] = Translation(joined, not lost, all(one.complete for one in mine))
        return found


def _rank(translation: Translation) -> tuple[bool, bool]:
    """Orders translations by how right they are; numbers count more."""
    return translation.numbers_kept, translation.complete
