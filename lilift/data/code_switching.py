"""Code-switching: English texts whose words are swapped for translations from a lexicon, anew in every epoch.

Everything drawn for an example (language, share of words, translations, word order) follows from seed, epoch and the example's
index alone, so that any run, resumed or parallel, sees the same text.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from lilift.data.english import is_name, words
from lilift.data.lexicon import Lexicon
from lilift.data.word_order import shuffled
from lilift.recipe.errors import DataError
from lilift.recipe.schema import CodeSwitchingSettings


class Swap(NamedTuple):
    """One swapped word: where its translation stands in the switched text, and what it replaced."""

    start: int
    end: int
    original: str


@dataclass(frozen=True, slots=True)
class CodeSwitched:
    """A code-switched text.

    Attributes:
        text: the switched text.
        language: the language of the translations.
        ratio: the share of translatable words that was drawn for this text.
        translatable: how many words could have been swapped.
        swaps: which were, in order.
        shuffled: whether the words were moved about too.
    """

    text: str
    language: str
    ratio: float
    translatable: int
    swaps: tuple[Swap, ...]
    shuffled: bool


@dataclass(frozen=True, slots=True, eq=False)  # compared and hashed by identity, which is fast
class _Choice:
    """Translations of a word as they would be written, and their weights added up."""

    texts: tuple[str, ...]
    weights: tuple[float, ...]

    def draw(self, chance: float) -> str:
        """The translation at `chance`, 0 to 1, of the whole weight."""
        return self.texts[bisect_right(self.weights, chance * self.weights[-1], hi=len(self.texts) - 1)]


class CodeSwitcher:
    """Swaps words of English texts for those of one language a text.

    Args:
        lexicons: one lexicon per language; each text's language is drawn evenly from them.
        settings: shares of words and of shuffled texts.
        seed: of everything drawn.
        names: lower-case words that are names even at the beginning of a sentence (`lilift.data.english.find_names`).

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
            raise DataError("there is no lexicon to swap words with", where="data.lexicons", remedy="name one per language")
        self.lexicons = dict(lexicons)
        self.settings = settings
        self.seed = seed
        self.names = names
        self._languages = sorted(lexicons)
        # What each word as written becomes; None for one that the lexicon lacks.
        self._choices: dict[str, dict[str, _Choice | None]] = {code: {} for code in lexicons}

    def switch(self, text: str, *, epoch: int, index: int) -> CodeSwitched:
        """The text as the example `index` has it in `epoch`.

        Numbers, units, LaTeX, code, addresses, acronyms and names stay as they are. A word keeps its capital and the
        punctuation around it; endings (plural, -ing, -ed, 's) go with the English word. A word that occurs twice in a text
        has the same translation both times.
        """
        rng = random.Random(f"switch {self.seed} {epoch} {index}")
        code = self._languages[int(rng.random() * len(self._languages))]
        ratio = self.settings.ratios[int(rng.random() * len(self.settings.ratios))]
        moved = rng.random() < self.settings.shuffle
        english = shuffled(text, rng, self.names) if moved else text
        return self._swap(english, rng, code, ratio, moved)

    def _swap(self, text: str, rng: random.Random, code: str, ratio: float, moved: bool) -> CodeSwitched:
        choices = self._choices[code]
        chance = rng.random
        drawn: dict[_Choice, str] = {}
        parts: list[str] = []
        swaps: list[Swap] = []
        copied = length = translatable = 0
        for word in words(text):
            written = word.text
            try:
                choice = choices[written]
            except KeyError:
                choice = self._choice(code, written)
            if choice is None or (written[0].isupper() and is_name(word, self.names)):
                continue
            translatable += 1
            if chance() >= ratio:
                continue
            translation = drawn.get(choice)
            if translation is None:
                translation = drawn[choice] = choice.draw(chance())
            parts += (text[copied : word.start], translation)
            start = length + word.start - copied
            length = start + len(translation)
            copied = word.end
            swaps.append(Swap(start, length, written))
        parts.append(text[copied:])
        return CodeSwitched("".join(parts), code, ratio, translatable, tuple(swaps), moved)

    def _choice(self, code: str, written: str) -> _Choice | None:
        """What a word may become, remembered for the next time."""
        found = self.lexicons[code].find(written.lower())
        choice = None
        if found:
            capital = written[0].isupper() and written != "I"
            texts = tuple(_with_capital(item.text) if capital else item.text for item in found)
            choice = _Choice(texts, tuple(accumulate(item.weight for item in found)))
        self._choices[code][written] = choice
        return choice


def _with_capital(text: str) -> str:
    """The first letter as a capital where its script has them; marks that combine with it stay."""
    return text[:1].title() + text[1:]
