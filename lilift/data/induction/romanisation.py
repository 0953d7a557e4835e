"""Finds words that are spelled alike once both languages are written in Latin letters, with uroman.

uroman romanises every script (Hermjakob, May and Knight 2018). It knows languages by ISO 639-3 codes only, and ignores any
other code without a word, so this module translates lilift's codes. Words with a digit never go through uroman, because it
loses some (`二〇二四` becomes 2·2·4). lilift compares numerals in native digits by their value.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

from lilift.recipe.errors import EnvironmentUnfit
from lilift.recipe.names.language_names import spellings

FEWEST_LETTERS = 4
"""Shorter words are too often alike by chance."""
# Codes of the languages that uroman 1.3.1 has rules of its own for, besides the rules of each script.
_OWN_RULES = frozenset(
    ("bel", "bul", "ell", "fas", "kaz", "kir", "lav", "lit", "mkd", "pus", "rus", "srp", "uig", "ukr", "yid")
)

Romanise = Callable[[str], str]
"""A word in Latin letters."""


def uroman_for(code: str) -> Romanise:
    """uroman for a language. The first time takes seconds, because uroman reads its tables.

    Args:
        code: lilift's code of the language.

    Raises:
        EnvironmentUnfit: uroman is not installed.
    """
    if find_spec("uroman") is None:
        raise EnvironmentUnfit(
            "--start romanised needs uroman, which is not installed", remedy="run `pip install 'lilift[induction]'`"
        )
    romaniser, own = _uroman(), iso_code(code)
    return lambda word: str(romaniser.romanize_string(word, lcode=own))


@cache
def _uroman() -> Any:
    from uroman import Uroman

    return Uroman()


def iso_code(code: str) -> str | None:
    """The ISO 639-3 code under which uroman has rules for a language; None if the rules of its script are all that it has."""
    return next((written for written in spellings(code) if written in _OWN_RULES), None)


def romanised_anchors(
    english: Sequence[str], foreign: Sequence[str], romanise: Romanise, *, fewest_letters: int = FEWEST_LETTERS
) -> list[tuple[int, int]]:
    """Positions of words that are spelled alike in Latin letters, each word once: names, loanwords, and numerals by value.

    Args:
        english, foreign: the vocabularies, the most frequent word first. Of words with the same spelling, the first counts.
        romanise: writes a foreign word in Latin letters.
        fewest_letters: words with fewer letters in Latin script are left out.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(english):
        places.setdefault(_key(word, _without_marks, fewest_letters), place)
    places.pop("", None)
    found: dict[int, int] = {}
    for place, word in enumerate(foreign):
        partner = places.get(_key(word, romanise, fewest_letters))
        if partner is not None:
            found.setdefault(partner, place)
    return list(found.items())


def _key(word: str, romanise: Romanise, fewest_letters: int) -> str:
    """What two words must share: the value of a numeral, or the Latin letters of a word; empty for what has no partner."""
    if word.isdecimal():
        return "".join(str(unicodedata.decimal(digit)) for digit in word)
    if any(letter.isnumeric() for letter in word):
        return ""
    letters = "".join(letter for letter in _without_marks(romanise(word)) if "a" <= letter <= "z")
    return letters if len(letters) >= fewest_letters else ""


def _without_marks(word: str) -> str:
    """A Latin word in lower case and without accents."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", word.casefold()) if not unicodedata.combining(letter))
