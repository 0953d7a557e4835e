"""Code-switching: swaps words of English texts for translations from a lexicon, in a new way in every epoch.

All random choices for an example (language, share of words, translations, word order) depend only on the seed, the epoch and
the index of the example. So every run sees the same text, also a resumed or parallel one.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from lilift.data.lexicons.english_forms import (
    ALWAYS_NAME,
    NAME_WITHIN_SENTENCES,
    TOKEN,
    dictionary_forms,
    name_by_form,
    starts_sentence,
)
from lilift.data.lexicons.lexicon import Lexicon, Translation
from lilift.data.switching.word_order import shuffled
from lilift.recipe.errors import DataError
from lilift.recipe.schema import CodeSwitchingSettings, ShareRange


class Swap(NamedTuple):
    """One swapped word.

    Attributes:
        start: where its translation begins in the switched text.
        end: where it ends.
        original: the English word that it replaced.
        language: the language of the translation.
        gap: the spaces before the English word that were removed, because the translations on both sides of them are in
            languages without spaces between words; otherwise empty.
    """

    start: int
    end: int
    original: str
    language: str
    gap: str


@dataclass(frozen=True, slots=True)
class CodeSwitched:
    """A code-switched text.

    Attributes:
        text: the switched text.
        language: the language of the translations, or None if the language of each word was drawn separately.
        ratio: the share of translatable words that was drawn for this text.
        translatable: number of words that could have been swapped.
        swaps: the swapped words, in order.
        shuffled: whether the word order was changed too.
    """

    text: str
    language: str | None
    ratio: float
    translatable: int
    swaps: tuple[Swap, ...]
    shuffled: bool


class _Choice(NamedTuple):
    """The possible translations of a word in one language, in the form for the text, and their cumulative weights."""

    language: str
    spaced: bool
    texts: tuple[str, ...]
    weights: tuple[float, ...]


_Choices = list[_Choice | tuple[str, tuple[Translation, ...]]]
"""The choices for a word; those that nobody has drawn yet are languages with the lexicon's translations."""


class CodeSwitcher:
    """Swaps words of English texts for those of other languages.

    Args:
        lexicons: one lexicon for each language; each text (or each word, in mixed texts) gets one of the languages, all equally
            likely.
        settings: shares of words, of mixed texts and of shuffled texts.
        seed: the seed of all random choices.
        names: lower-case words that are names even at the beginning of a sentence (`english_forms.find_names`).

    Raises:
        DataError: no lexicon is given.
    """

    def __init__(
        self,
        lexicons: Mapping[str, Lexicon],
        settings: CodeSwitchingSettings,
        *,
        seed: int,
        names: frozenset[str] = frozenset(),
    ) -> None:
        if not lexicons:
            raise DataError(
                "the recipe has no lexicon, so lilift cannot swap words", where="data.lexicons", remedy="add one per language"
            )
        self.lexicons = dict(lexicons)
        self.settings = settings
        self.seed = seed
        self.names = names
        self._languages = sorted(lexicons)
        self._entries = {code: lexicon.entries for code, lexicon in lexicons.items()}
        self._spaced = {code: lexicon.language.puts_spaces_between_words for code, lexicon in lexicons.items()}
        self._random = random.Random()
        self._names_within: set[str] = set()  # words that are names unless a sentence begins with them
        self._forms: dict[str, tuple[str, ...]] = {}  # the dictionary forms of words in their written forms
        # The choices for each word in its written form, in one language or (None) in any of them.
        self._choices: dict[str | None, dict[str, _Choices]] = {code: {} for code in (*self._languages, None)}

    def switch(self, text: str, *, epoch: int, index: int) -> CodeSwitched:
        """The code-switched text of the example `index` in `epoch`.

        Numbers, units, LaTeX, code, addresses, acronyms and names stay as they are. A word keeps its capital and the
        punctuation around it. Endings (plural, -ing, -ed, 's) disappear with the English word. A word that occurs twice in a
        text has the same translation both times. Two neighbouring translations into languages without spaces between words are
        joined.
        """
        settings = self.settings
        rng = self._random  # a new generator would be seeded twice
        rng.seed(f"switch {self.seed} {epoch} {index}")
        code: str | None = self._languages[int(rng.random() * len(self._languages))]
        ratio = _share(settings.ratios, rng.random())
        moved = rng.random() < settings.shuffle
        if settings.mixed and rng.random() < settings.mixed:
            code = None
        english = shuffled(text, rng, self.names) if moved else text
        return self._swap(english, rng, code, ratio, moved)

    def _swap(self, text: str, rng: random.Random, code: str | None, ratio: float, moved: bool) -> CodeSwitched:
        known, within = self._choices[code].get, self._names_within
        chance, make = rng.random, tuple.__new__  # three times as fast as a call of the NamedTuple
        drawn: dict[str, tuple[str, _Choice]] = {}
        parts: list[str] = []
        swaps: list[Swap] = []
        copied = length = translatable = end = previous_end = 0
        previous = ""
        spaced = True  # whether the last swap's language puts spaces between words
        pieces = iter(TOKEN.split(text))  # as `english_forms.words` does, which would make an object for every word
        for before, plain, protected, other in zip(pieces, pieces, pieces, pieces, strict=False):  # the last gap is alone
            start = end + len(before)
            if protected is not None:
                previous_end = end = start + len(protected)
                previous = ""
                continue
            written = plain or other
            last_end, last = previous_end, previous
            previous_end = end = start + len(written)
            previous = written
            choices = known(written)
            if choices is None:
                choices = self._look_up(code, written)
            if not choices or (written in within and not starts_sentence(text, last_end, start, last)):
                continue
            translatable += 1
            if chance() >= ratio:
                continue
            found = drawn.get(written)
            if found is None:
                place = 0 if len(choices) == 1 else int(chance() * len(choices))
                candidate = choices[place]
                if isinstance(candidate, _Choice):
                    choice = candidate
                else:
                    choice = choices[place] = self._made(*candidate, written)
                share, texts = chance(), choice.texts
                if len(texts) == 1:
                    translation = texts[0]
                else:
                    weights = choice.weights
                    translation = texts[bisect_right(weights, share * weights[-1], hi=len(texts) - 1)]
                drawn[written] = translation, choice
            else:
                translation, choice = found
            between = text[copied:start]
            gap = ""
            if not (spaced or choice.spaced) and swaps and between and not between.strip(" "):
                gap, between = between, ""
            spaced = choice.spaced
            parts += between, translation
            begins = length + len(between)
            length = begins + len(translation)
            copied = end
            swaps.append(make(Swap, (begins, length, written, choice.language, gap)))
        parts.append(text[copied:])
        return CodeSwitched("".join(parts), code, ratio, translatable, tuple(swaps), moved)

    def _look_up(self, code: str | None, written: str) -> _Choices:
        """The choices for a word; they are stored for the next time."""
        forms = self._forms.get(written)
        if forms is None:
            forms = self._forms[written] = self._forms_of(written)
        found: _Choices = []
        if forms:
            for language in self._languages if code is None else (code,):
                get = self._entries[language].get
                for form in forms:
                    translations = get(form)
                    if translations is not None:
                        if translations:
                            found.append((language, translations))
                        break
        self._choices[code][written] = found
        return found

    def _forms_of(self, written: str) -> tuple[str, ...]:
        """The dictionary forms of a word in its written form; none for algebra and for what is always a name."""
        if len(written) == 1 and written not in "aAI":
            return ()
        if written[0] < "a":
            name = name_by_form(written, self.names)
            if name == ALWAYS_NAME:
                return ()
            if name == NAME_WITHIN_SENTENCES:
                self._names_within.add(written)
        return dictionary_forms(written.lower())

    def _made(self, language: str, translations: tuple[Translation, ...], written: str) -> _Choice:
        """The translations of a word as the text needs them."""
        spaced = self._spaced[language]
        capital = written[0].isupper() and written != "I"
        texts = [item.text for item in translations]
        if capital or not spaced:
            texts = _as_written(texts, capital=capital, spaced=spaced)
        weights = accumulate([item.weight for item in translations]) if len(texts) > 1 else ()
        return _Choice(language, spaced, tuple(texts), tuple(weights))


def _share(ratios: Sequence[float] | ShareRange, chance: float) -> float:
    """The share of words for a random number `chance` from 0 to 1."""
    if isinstance(ratios, ShareRange):
        return ratios.min + chance * (ratios.max - ratios.min)
    return ratios[int(chance * len(ratios))]


def _as_written(texts: Sequence[str], *, capital: bool, spaced: bool) -> list[str]:
    """Translations in their form for a text: with a capital if needed, and without spaces if the language has none."""
    written = texts if spaced else ["".join(text.split()) for text in texts]
    # Marks that combine with the first letter stay with it.
    return [text[:1].title() + text[1:] if capital else text for text in written]
