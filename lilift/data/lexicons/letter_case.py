"""Capitals of a dictionary's translations, as they stand within a sentence.

A dictionary in capitals is lower-cased. A capital that the translation has only because English has one is dropped, except
where it belongs to the word: German and Luxembourgish nouns, acronyms, and names of countries, languages, days and months.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from lilift.data.languages import Language
from lilift.data.lexicons.english_forms import CALENDAR
from lilift.recipe.names.language_names import is_name_of_place_or_language

_NOUNS_WITH_CAPITAL = frozenset(("de", "lb"))
_DOTLESS = frozenset(("tr", "az", "crh-Latn"))
_NEARLY_ALL = 0.8
_LEAST = 3
"""Translations in capitals from which on a file counts as one in capitals."""


class Capitals(NamedTuple):
    """How a dictionary uses capitals.

    Attributes:
        everywhere: nearly all translations are in capitals.
        titled: nearly all English entries begin with a capital, so that it says nothing.
    """

    everywhere: bool = False
    titled: bool = False


def capitals_of(pairs: Iterable[tuple[str, str]]) -> Capitals:
    """How English entries and translations use capitals; scripts without them do not count."""
    cased = shouted = entries = titled = 0
    for english, translation in pairs:
        letters = [letter for letter in translation if letter.lower() != letter.upper()]
        if len(letters) > 1:
            cased += 1
            shouted += translation.isupper()
        entries += 1
        titled += english[:1].isupper()
    return Capitals(shouted >= max(_LEAST, _NEARLY_ALL * cased), titled >= max(_LEAST, _NEARLY_ALL * entries))


def within_sentence(english: str, translation: str, capitals: Capitals, known: Language) -> str:
    """A translation as it stands within a sentence.

    Args:
        english: the entry, as the file has it.
        translation: one of its translations.
        capitals: of the whole file.
        known: the language translated into.
    """
    if not translation:
        return translation
    proper = english.casefold() in CALENDAR or is_name_of_place_or_language(english)
    if capitals.everywhere:
        lower = _lower(translation, known)
        return translation[:1] + lower[1:] if proper and english.casefold() not in CALENDAR else lower
    if not english[:1].isupper() or english == "I" or (len(translation) > 1 and translation.isupper()):
        return translation
    if known.code in _NOUNS_WITH_CAPITAL or (proper and not capitals.titled):
        return translation
    return _lower(translation[:1], known) + translation[1:]


def _lower(text: str, known: Language) -> str:
    return (text.replace("I", "ı").replace("İ", "i") if known.code in _DOTLESS else text).lower()
