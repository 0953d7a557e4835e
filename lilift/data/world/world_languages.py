"""The languages of the task world, and how it writes a problem in each of them.

The foreign texts are not good texts. They have real words of real languages (GATITOS) in dictionary forms, translated word for
word and arranged by a rough outline of the language's word order. There is no inflection and no agreement. The auxiliary verbs
of English questions are left out, and so are articles and adpositions that the dictionary does not have. A speaker would
understand such a text about as well as a list of glosses. But it tests what the method is for: to reason over words and a word
order that the LLM did not learn from. It tests nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lilift.data.world.world_vocabulary import vocabulary
from lilift.recipe.errors import DataError

_ARTICLES = frozenset({"the"})
_ADPOSITIONS = frozenset({"in", "on", "at", "to", "from", "near", "among", "for"})
_POSSESSIVES = frozenset({"my"})
_DETERMINERS = frozenset({"each", "every", "one", "more", "how many", "all"})


@dataclass(frozen=True)
class WorldLanguage:
    """A language of the world, with an outline of its word order.

    `clause` lists the roles of `patterns.txt` in the order of this language. Each of the other fields says whether a kind of
    word comes before the noun (True) or after it.
    """

    code: str
    name: str
    order: str
    clause: str
    adposition_first: bool = True
    possessive_first: bool = True
    determiner_first: bool = True
    number_first: bool = True
    adjective_first: bool = True


ENGLISH = WorldLanguage("en", "English", "SVO", "")

WORLD_LANGUAGES: dict[str, WorldLanguage] = {
    language.code: language
    for language in (
        WorldLanguage(
            code="om", name="Oromo", order="SOV", clause="C T S QS L R M O Q V",
            adposition_first=False, possessive_first=False, determiner_first=False, number_first=False, adjective_first=False,
        ),
        WorldLanguage(
            code="qu", name="Quechua", order="SOV", clause="C T S QS R O Q L M V",
            adposition_first=False,
        ),
        WorldLanguage(
            code="ln", name="Lingala", order="SVO", clause="C S QS V R O Q M L T",
            possessive_first=False, determiner_first=False, number_first=False, adjective_first=False,
        ),
        WorldLanguage(
            code="fj", name="Fijian", order="VOS", clause="C Q QS V M O S R L T",
            adjective_first=False,
        ),
        WorldLanguage(
            code="to", name="Tongan", order="VSO", clause="C QS V M S O Q R L T",
            determiner_first=False, number_first=False, adjective_first=False,
        ),
    )
}  # fmt: skip
"""The low-resource languages of the world, by code. English is separate: `ENGLISH`."""

Words = tuple[str, ...]


@dataclass(frozen=True)
class FilledConstituent:
    """A constituent with English words, names and numbers in its slots."""

    role: str
    words: Words


@dataclass(frozen=True)
class FilledClause:
    """A clause with filled slots; `stop` is the same as in `patterns.Clause`."""

    constituents: tuple[FilledConstituent, ...]
    stop: str


def lexicon_path(language: str) -> Path:
    """The GATITOS excerpt of a world language: a TSV file `english<TAB>translation` with one row for each English form.

    Raises:
        DataError: the world does not have this language.
    """
    if language not in WORLD_LANGUAGES:
        raise no_world_language(language, "data.lexicons: world", "the path of a dictionary or of a folder with dictionaries")
    return Path(__file__).parent / "gatitos" / f"en_{language}.tsv"


def no_world_language(language: str, setting: str, instead: str) -> DataError:
    """The error where `world` is set, but lilift does not generate problems in a language.

    Args:
        language: the language.
        setting: the setting and its value.
        instead: what else the setting can have.
    """
    have = ", ".join(["en", *WORLD_LANGUAGES])
    return DataError(
        f"lilift's own problems (`world`) have no language {language!r}, only {have}", where=setting, remedy=f"write {instead}"
    )


@cache
def translations(language: str) -> dict[str, str]:
    """English form (lower case) → translation."""
    rows = (line.split("\t") for line in lexicon_path(language).read_text(encoding="utf-8").splitlines())
    return dict(rows)


def realise(clauses: Sequence[FilledClause], language: str) -> str:
    """Write a filled problem in `language` (`en` keeps the English words): words, order, capitals and punctuation."""
    text: list[str] = []
    starts = True
    for clause in clauses:
        words = _english(clause) if language == "en" else _foreign(clause, language)
        if starts:
            words[0] = words[0][:1].upper() + words[0][1:]
        text.append(" ".join(words) + clause.stop)
        starts = clause.stop in ".?" and clause.stop != ""
    return " ".join(text)


def _english(clause: FilledClause) -> list[str]:
    return [word for constituent in clause.constituents for word in constituent.words]


def _foreign(clause: FilledClause, code: str) -> list[str]:
    table, language = translations(code), WORLD_LANGUAGES[code]
    kept = [constituent for constituent in clause.constituents if constituent.role != "X"]
    roles = language.clause.split()
    kept.sort(key=lambda constituent: roles.index(constituent.role))
    return [
        translated
        for constituent in kept
        for word in _phrase(constituent.words, language)
        if (translated := _translate(word, table)) is not None
    ]


def _translate(word: str, table: dict[str, str]) -> str | None:
    """The translation of a word; names and numbers stay; None for a function word that the dictionary does not have."""
    if word in vocabulary().names or word.isdecimal():
        return word
    return table.get(word.lower())


def _phrase(words: Words, language: WorldLanguage) -> list[str]:
    """Arrange a noun phrase, from the outside to the noun: adposition, article, possessive, determiner, number, adjective."""
    first = {
        "adposition": language.adposition_first,
        "article": True,
        "possessive": language.possessive_first,
        "determiner": language.determiner_first,
        "number": language.number_first,
        "adjective": language.adjective_first,
    }
    kinds = [_kind(word) for word in words]
    noun = [word for word, kind in zip(words, kinds, strict=True) if kind == "noun"]
    before: list[str] = []
    after: list[str] = []
    for kind, precedes in first.items():
        group = [word for word, its_kind in zip(words, kinds, strict=True) if its_kind == kind]
        if precedes:
            before += group
        else:
            after = group + after
    return [*before, *noun, *after]


def _kind(word: str) -> str:
    if word in _ADPOSITIONS:
        return "adposition"
    if word in _ARTICLES:
        return "article"
    if word in _POSSESSIVES:
        return "possessive"
    if word in _DETERMINERS:
        return "determiner"
    if word.isdecimal():
        return "number"
    return "adjective" if word in _adjectives() else "noun"


@cache
def _adjectives() -> frozenset[str]:
    return frozenset(word[0] for word in vocabulary().classes["colour"])
