"""Languages by code: English name, scripts, resource tier, FLORES code.

`languages.tsv` has one row a language. Codes are BCP-47 as the sources write them (MMWP's 48 languages, GATITOS, then other
languages that dictionaries exist for). Scripts are ISO 15924 codes, the ones that MMWP, FLORES and GATITOS write the language
in. Tiers are set for the 48 MMWP languages alone; they reproduce the paper's 10 high, 17 medium and 21 low.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Literal, cast

from lilift.recipe.errors import DataError
from lilift.recipe.names.language_names import hint, read_language

if TYPE_CHECKING:
    import regex

Tier = Literal["high", "medium", "low"]
NO_SCRIPT = "Zyyy"
"""ISO 15924 for text that belongs to no script: digits, punctuation, signs."""

_WITHOUT_SPACES = frozenset(["Hans", "Hant", "Hani", "Jpan", "Thai", "Laoo", "Khmr", "Mymr"])
"""Scripts whose languages put no space between words."""

# ISO 15924 names combinations that Unicode knows only by their parts.
_UNICODE_SCRIPTS = {"Jpan": ("Hani", "Hira", "Kana"), "Hans": ("Hani",), "Hant": ("Hani",)}


@dataclass(frozen=True)
class Language:
    """A language of the table.

    Attributes:
        code: BCP-47 code, as in recipes and file names.
        name: English name.
        scripts: ISO 15924 codes of the scripts it is written in here.
        tier: resource tier in MMWP, or None for a language outside it.
        flores: FLORES-200 code, which NLLB's tokenizer asks for, or None where FLORES lacks the language.
    """

    code: str
    name: str
    scripts: tuple[str, ...]
    tier: Tier | None
    flores: str | None

    def writes_any(self, text: str) -> bool:
        """Whether `text` has at least one letter of this language's scripts."""
        return _script_patterns(self.scripts)[0].search(text) is not None

    @property
    def puts_spaces_between_words(self) -> bool:
        """Whether words stand apart; not so in Chinese, Japanese, Thai, Lao, Khmer and Burmese."""
        return _WITHOUT_SPACES.isdisjoint(self.scripts)

    def writes(self, text: str) -> bool:
        """Whether every letter of `text` is of this language's scripts, and there is at least one."""
        native, foreign = _script_patterns(self.scripts)
        return native.search(text) is not None and foreign.search(text) is None


@cache
def languages() -> Mapping[str, Language]:
    """Every language of the table by code."""
    text = (resources.files("lilift.data") / "languages.tsv").read_text(encoding="utf-8")
    table = {}
    for line in text.splitlines()[1:]:
        code, name, scripts, tier, flores = line.split("\t")
        table[code] = Language(code, name, tuple(scripts.split(",")), cast("Tier | None", tier or None), flores or None)
    return table


def language(code: str) -> Language:
    """The language of a code or name, in any spelling that `lilift.recipe.names.language_names` knows.

    Raises:
        DataError: it names no language of the table, or several.
    """
    table = languages()
    if code in table:
        return table[code]
    found = read_language(code)
    if found is not None:
        return table[found.code]
    meant = hint(code)
    raise DataError(
        f"unknown language {code!r}" + (f" ({meant})" if meant else ""),
        where="languages",
        remedy="write a code such as sw, bn or om, or a name",
    )


def script_of(text: str) -> str:
    """ISO 15924 code of the first letter's script, or `NO_SCRIPT` where there is no letter of a known one."""
    found = _any_script().search(text)
    return str(found.lastgroup) if found and found.lastgroup else NO_SCRIPT


def _unicode_scripts(scripts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part for script in scripts for part in _UNICODE_SCRIPTS.get(script, (script,)))


@cache
def _script_patterns(scripts: tuple[str, ...]) -> tuple[regex.Pattern[str], regex.Pattern[str]]:
    """A letter of these scripts, and a letter of any other. Letters that scripts share (modifiers, marks) are in neither."""
    import regex  # most commands need the table alone

    own = "".join(rf"\p{{Script={part}}}" for part in _unicode_scripts(scripts))
    shared = r"\p{Script=Common}\p{Script=Inherited}"
    return regex.compile(rf"(?V1)[\p{{L}}&&[{own}]]"), regex.compile(rf"(?V1)[\p{{L}}--[{own}{shared}]]")


@cache
def _any_script() -> regex.Pattern[str]:
    import regex

    known = sorted({part for known in languages().values() for part in _unicode_scripts(known.scripts)})
    return regex.compile("|".join(rf"(?P<{part}>\p{{Script={part}}})" for part in known))
