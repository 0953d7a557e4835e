"""Which language a row of a data set is in, by the column that names it."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from lilift.data.languages import languages
from lilift.recipe.names.language_names import read_language

LANGUAGE_COLUMNS = ("lang", "language")
"""Columns in which data sets of several languages name the language of a row."""

_ENGLISH = frozenset(["en", "eng", "english"])
_NAME_PARTS = re.compile(r"[-_ (]")
# ISO 639-1 without English.
_TWO_LETTERS = """
aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el eo es et eu fa
ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko
kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa
pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty
ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""
_MORE_NAMES = """
albanian arabic armenian azerbaijani belarusian bosnian bulgarian catalan croatian czech danish dutch estonian filipino
finnish french galician german greek hebrew hungarian icelandic indonesian italian irish japanese korean latin latvian
lithuanian macedonian malay maltese mandarin norwegian polish portuguese romanian russian serbian slovak slovenian spanish
swedish turkish ukrainian welsh
"""


def is_in(value: Any, code: str) -> bool:
    """Whether a row that names this language can be in the language `code`: it names that one, or no language at all."""
    if code == "en" or not isinstance(value, str):
        return is_english(value)
    found = read_language(value)
    return found.code == code if found is not None else is_english(value) and not _names_english(value)


def is_english(value: Any) -> bool:
    """Whether a row that names this language can be English.

    True for every way to write English (``en``, ``en-GB``, ``eng_Latn``, ``English``), for no language at all, and for what is
    no natural language (``Python``).
    """
    return not isinstance(value, str) or not _is_other_language(value.strip().lower())


@cache
def _is_other_language(name: str) -> bool:
    if not name or _names_english(name):
        return False
    first = _NAME_PARTS.split(name, maxsplit=1)[0]
    return name in _other_languages() or first in _other_languages() or read_language(name) is not None


def _names_english(name: str) -> bool:
    return _NAME_PARTS.split(name.strip().lower(), maxsplit=1)[0] in _ENGLISH


@cache
def _other_languages() -> frozenset[str]:
    """English names and codes of every language that lilift knows, and of others that data sets often name."""
    known = languages().values()
    codes = {code.lower() for one in known for code in (one.code, (one.flores or one.code).partition("_")[0])}
    names = {one.name.lower() for one in known}
    return frozenset({*codes, *names, *_TWO_LETTERS.split(), *_MORE_NAMES.split()} - _ENGLISH)
