"""What is wrong with published dictionaries, entry by entry: what is mended, and why the rest is left out.

Identity pairs (91% of MUSE's Vietnamese file), words of another script, notes in brackets, affixes, explanations instead of
translations: every reason has a name, under which `lilift.data.lexicons.lexicon.build_lexicon` counts it.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from lilift.data.composed_text import composed
from lilift.data.languages import Language

_ENGLISH_WORD = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)*")
_NOTE = re.compile(r"(?:^|(?<=\s))[(\[{][^()\[\]{}]*[)\]}](?=\s|[,;.]|$)")
_BRACKET = re.compile(r"[()\[\]{}<>（）【】〔〕［］]")
_WIDE_NOTE = re.compile(r"（[^（）]*）|【[^【】]*】|〔[^〔〕]*〕|［[^［］]*］")
_ALTERNATIVES = re.compile(r"\s*[,;/|،؛、，；／｜፣፤]\s*")
_NO_TRANSLATION = frozenset(("n/a", "#n/a", "#ref!", "#name?"))
"""What spreadsheets write in a cell without a value."""
_INFINITIVE = re.compile(r"to [a-z]+(?:['’][a-z]+)*", re.IGNORECASE)
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u2060\ufeff\u00ad\u200e\u200f"))  # joiners stay: Indic and Persian need them
_EDGES = ' \t\u00a0.!?¿¡।॥։。؟۔።፧！？"“”„«»‘`*~_='

_VARIATION = "\ufe0e\ufe0f"

# Letters of another script that keyboards without the right one put into a word: GATITOS writes Ossetian ӕ as Latin æ in nearly
# all of its entries, Chuvash ҫ as ç, Kabyle and Fon ɛ as Greek ε.
_MEANT_IN_CYRILLIC = str.maketrans("aceijopsxyhæöçÿăĕABCEHIKMOPTXÆÖÇĂĔ", "асеіјорѕхуһӕӧҫӳӑӗАВСЕНІКМОРТХӔӦҪӐӖ")
_MEANT_IN_LATIN = str.maketrans("εγΣΓ", "ɛɣƐƔ")
_LOOK_ALIKES: Mapping[tuple[str, ...], Mapping[int, int]] = {("Cyrl",): _MEANT_IN_CYRILLIC, ("Latn",): _MEANT_IN_LATIN}


@dataclass(frozen=True)
class Filters:
    """Which translations are kept where tastes differ.

    Attributes:
        most_words: translations of more words are explanations rather than translations.
        keep_identical: keep translations that are spelled like the English word; swapping them changes nothing.
    """

    most_words: int = 3
    keep_identical: bool = False

    def unusable(self, english: str, translation: str, known: Language) -> str | None:
        """Why a translation is dropped, or None if it is kept."""
        if not translation:
            return "empty"
        if not self.keep_identical and translation.casefold() == english.casefold():
            return "identical"
        if _BRACKET.search(translation):
            return "brackets"
        if any(character.isdigit() for character in translation):
            return "digits"
        if any(character == "\ufffd" or unicodedata.category(character) == "Cc" for character in translation):
            return "damaged letter"
        if translation.startswith("-") or translation.endswith("-"):
            return "affix"
        if len(translation.split()) > self.most_words:
            return "too many words"
        return None if known.writes(translation) else "wrong script"


DEFAULT_FILTERS = Filters()


def clean_english(english: str) -> str:
    """An English entry as it stands in a text: no HTML or notes, straight apostrophes, no punctuation around it."""
    text = composed(html.unescape(english).replace("’", "'").translate(_INVISIBLE))
    return " ".join(_NOTE.sub(" ", text).split()).strip(_EDGES) if _BRACKET.search(text) else text.strip(_EDGES)


def is_infinitive(english: str) -> bool:
    """Whether an English entry is a verb as many dictionaries write it: ``to eat``."""
    return _INFINITIVE.fullmatch(english) is not None


def unusable_english(english: str) -> str | None:
    """Why an English entry cannot be found in a text word by word, or None if it can."""
    if not english:
        return "empty"
    if _ENGLISH_WORD.fullmatch(english):
        return None
    parts = english.replace("-", " ").split()
    return "several English words" if len(parts) > 1 and parts[0].isascii() else "not an English word"


def alternatives(translation: str) -> list[str]:
    """A cell's translations, without notes in brackets; at least one, perhaps empty."""
    text = composed(html.unescape(translation).translate(_INVISIBLE))
    if text.strip().casefold() in _NO_TRANSLATION:
        return [""]
    text = _WIDE_NOTE.sub(" ", text)
    return _ALTERNATIVES.split(" ".join(_NOTE.sub(" ", text).split()).strip(_EDGES))


def without_edges(text: str) -> str:
    """A text without punctuation and blanks around it, pictures behind it, and a quotation mark without its partner."""
    text = text.strip(_EDGES)
    while text and unicodedata.category(text[-1]) == "So":  # a picture
        text = text[:-1].strip(_EDGES + _VARIATION)
    return text.replace('"', "") if text.count('"') % 2 else text


def mended(text: str, known: Language) -> str:
    """The text with look-alike letters of another script replaced in words that are otherwise of the language's own script."""
    if known.writes(text):
        return text
    table = _LOOK_ALIKES.get(known.scripts)
    return " ".join(_mended_word(word, known, table) for word in text.split(" ")) if table else text


def _mended_word(word: str, known: Language, table: Mapping[int, int]) -> str:
    """Mended only if that makes the whole word native, and some letter of it was native before: an English word stays."""
    changed = word.translate(table)
    had_own = any(known.writes(character) for character in word)
    return changed if had_own and known.writes(changed) else word
