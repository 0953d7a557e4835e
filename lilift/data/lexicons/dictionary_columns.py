"""Which column of a dictionary holds English and which the translation: from its header, its contents and its words.

A header may stand in any line (files are joined). Numbers, parts of speech and empty columns are neither English nor a
translation. Common English words, or the script, show that English is on the right: such a file is read the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from lilift.data.languages import Language
from lilift.data.lexicons.dictionary_lines import is_number, is_part_of_speech
from lilift.data.lexicons.swadesh import SWADESH_110, SWADESH_207
from lilift.data.world import WORLD_LANGUAGES, lexicon_path
from lilift.recipe.names.language_names import read_language, same_language

# A code such as `so`, `it` or `to` is an English word too: beside these, which no dictionary translates so, it names a column.
_ENGLISH = frozenset(("en", "eng", "english", "source", "src"))
_HEADWORDS = frozenset(("word", "words", "term", "terms", "lemma", "headword", "entry", "expression"))
_TRANSLATION_WORDS = "translation translations target tgt trg translated meaning meanings gloss definition equivalent"
_TRANSLATIONS = frozenset(_TRANSLATION_WORDS.split())
_OTHER_WORDS = """
    pos part speech class type category frequency freq count rank score weight probability prob confidence note notes comment
    comments example examples id no number index plural gender ipa pronunciation transliteration domain topic language text us
    gb latn of
"""
_OTHERS = frozenset(_OTHER_WORDS.split())
_WORDS = _ENGLISH | _HEADWORDS | _TRANSLATIONS | _OTHERS
_MOSTLY = 0.5
_LONGEST_CODE = 3
_TOKEN = re.compile(r"\w+")


class Columns(NamedTuple):
    """Where English and the translation stand.

    Attributes:
        english: number of its column, from 0.
        translation: number of its column.
        by_place: whether further columns hold something else, so that columns are counted as they stand; otherwise empty cells
            (two separators in a row) are passed over.
    """

    english: int = 0
    translation: int = 1
    by_place: bool = False

    def pair(self, cells: Sequence[str]) -> tuple[str, str] | None:
        """English and translation of a line, the latter empty where it is missing; None if the line has too few cells."""
        found = list(cells) if self.by_place else [cell for cell in cells if cell]
        hole = not self.by_place and len(found) < len(cells)
        if hole and len(found) == 2 and (is_number(found[1]) or is_part_of_speech(found[1])):
            found[1] = ""
        if len(found) <= max(self.english, self.translation):
            return (cells[0], "" if cells[0] else found[0]) if hole and len(found) == 1 else None
        return found[self.english], found[self.translation]


UNNAMED = Columns(-1, -1)
"""A header that does not say which column is which."""


class MissingColumn(NamedTuple):
    """The columns of a table that has none for the language."""

    names: tuple[str, ...]


def header_columns(cells: Sequence[str], known: Language) -> Columns | MissingColumn | None:
    """What a header says, or None if the line is none.

    Args:
        cells: of the line.
        known: the language translated into.
    """
    words = [_TOKEN.findall(cell.casefold().replace("_", " ")) for cell in cells]
    first_words = [next(iter(found), "") for found in words]
    if len([word for word in first_words if word]) < 2 or not any(
        _ENGLISH & set(found) or _HEADWORDS & set(found) for found in words
    ):
        return None

    def place_of(role: frozenset[str]) -> int | None:
        return next((place for place, found in enumerate(words) if role & set(found) and set(found) <= _WORDS), None)

    english, target, headword = place_of(_ENGLISH), place_of(_TRANSLATIONS), place_of(_HEADWORDS)
    own = next((place for place, cell in enumerate(cells) if place != english and _names(cell, words[place], known)), None)
    by_place = sum(bool(word) for word in first_words) > 2
    translation = own if own is not None else target
    source = english if english is not None else headword
    if source is not None and translation is not None and source != translation:
        # `word` beside a code alone may be a pair of words: many codes are words too. Beside a name it is a header.
        sure = own is None or english is not None or len(cells[own].strip()) > _LONGEST_CODE
        return Columns(source, translation, by_place) if sure else None
    named = sum(bool(read_language(cell)) for place, cell in enumerate(cells) if place != english)
    if english == 0 and {"en", "eng", "english"} & set(words[0]) and named == len(cells) - 1:
        return MissingColumn(tuple(cell.strip() for cell in cells))
    return UNNAMED if source is not None and all(set(found) <= _WORDS for found in words) else None


def column_layout(rows: Sequence[Sequence[str]], known: Language) -> tuple[Columns, bool]:
    """The columns of a file without a header, and whether English stands on the right.

    Args:
        rows: cells of its first lines.
        known: the language translated into.
    """
    full = [[cell for cell in row if cell] for row in rows]
    several = sum(len(row) > 2 for row in full)
    by_place = several > 0 and several >= _MOSTLY * sum(len(row) > 1 for row in full)
    width = max((len(row) for row in rows), default=0)
    usable = [place for place in range(width) if _holds_words(rows, place)] if by_place else []
    first, second = (usable[0], usable[1]) if len(usable) > 1 else (0, 1)
    native = [place for place in usable if "Latn" not in known.scripts and _share(rows, place, known.writes) > _MOSTLY]
    if len(usable) > 2 and native and len(native) < len(usable):  # a third column has the pronunciation, or the like
        words, foreign = _common_english(), [place for place in usable if place not in native]
        second = native[0]
        first = max(foreign, key=lambda place: (_share(rows, place, lambda cell: _is_common(cell, words)), -place))
        return Columns(first, second, by_place), first > second
    columns = Columns(first, second, by_place)
    turned = is_turned([pair for row in rows if (pair := columns.pair(row))], known)
    return (Columns(second, first, by_place) if turned else columns), turned


def is_turned(pairs: Sequence[tuple[str, str]], known: Language) -> bool:
    """Whether the second of each pair is English, told by its script or by common English words."""
    different = [(one, other) for one, other in pairs if one and other and one.casefold() != other.casefold()]
    if "Latn" not in known.scripts:
        native = sum(known.writes(one) and other.isascii() for one, other in different)
        return native > len(different) / 2
    words = _common_english()
    left = sum(_is_common(one, words) for one, _ in different)
    right = sum(_is_common(other, words) for _, other in different)
    if len(different) <= 3:
        return right > 0 and left == 0
    return right >= 2 and right > 3 * left


def _is_common(text: str, words: frozenset[str]) -> bool:
    return any(part.strip(" .!?()").casefold().removeprefix("to ") in words for part in text.replace(";", ",").split(","))


def _holds_words(rows: Sequence[Sequence[str]], place: int) -> bool:
    """Whether a column holds words: it is mostly filled, and not with numbers or parts of speech."""
    filled = [row[place] for row in rows if len(row) > place and row[place]]
    # A digit is in no word: such a column has numbers or identifiers.
    odd = sum(any(map(str.isdigit, cell)) or (is_part_of_speech(cell) and place > 0) for cell in filled)
    return len(filled) >= _MOSTLY * len(rows) and odd < 0.8 * len(filled)


def _share(rows: Sequence[Sequence[str]], place: int, holds: Callable[[str], bool]) -> float:
    """The share of a column's filled cells for which something holds."""
    filled = [row[place] for row in rows if len(row) > place and row[place]]
    return sum(map(holds, filled)) / max(1, len(filled))


def _names(cell: str, words: Sequence[str], known: Language) -> bool:
    """Whether a cell names the language, alone or beside words of headers, as ``Swahili translation``."""
    if same_language(cell, known.code):
        return True
    rest = [word for word in words if word not in _WORDS]
    return len(rest) == 1 and len(words) > 1 and same_language(rest[0], known.code)


@cache
def _common_english() -> frozenset[str]:
    """Some 700 common English words: Swadesh's concepts, and what the world's problems speak of."""
    path = lexicon_path(next(iter(WORLD_LANGUAGES)))
    world = (line.split("\t")[0].casefold() for line in path.read_text(encoding="utf-8").splitlines())
    return frozenset(word for word in (*SWADESH_110, *SWADESH_207, *world) if len(word) > 2)
