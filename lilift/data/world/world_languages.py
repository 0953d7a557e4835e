"""The world's languages, and how a problem is put into each.

Foreign text here is honest about what it is: real words of real languages (GATITOS), arranged by a rough sketch of the
language's own word order, word for word, in dictionary forms. There is no inflection and no agreement, the help verbs of
English questions are dropped, and articles and adpositions are dropped where the dictionary has none. A speaker would
understand it about as well as a list of glosses. It asks of a model what the method is about, to reason over words and a word
order that it was never taught in, and nothing more.
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
    """A language of the world and the outline of its word order.

    `clause` lists the roles of `patterns.txt` in the order in which this language puts them. The rest says what stands before
    the noun (True) or after it.
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
"""The low-resource languages of the world, by code. English is `ENGLISH`, apart."""

Words = tuple[str, ...]


@dataclass(frozen=True)
class FilledConstituent:
    """A constituent whose slots are filled with English words, names and numbers."""

    role: str
    words: Words


@dataclass(frozen=True)
class FilledClause:
    """A clause whose slots are filled; `stop` as in `patterns.Clause`."""

    constituents: tuple[FilledConstituent, ...]
    stop: str


def lexicon_path(language: str) -> Path:
    """The GATITOS excerpt of a world language: a TSV file `english<TAB>translation`, one row per English form.

    Raises:
        DataError: the world has no such language.
    """
    if language not in WORLD_LANGUAGES:
        raise DataError(f"the world has no language {language!r}", remedy=f"choose from {', '.join(['en', *WORLD_LANGUAGES])}")
    return Path(__file__).parent / "gatitos" / f"en_{language}.tsv"


@cache
def translations(language: str) -> dict[str, str]:
    """English form (lower case) → translation."""
    rows = (line.split("\t") for line in lexicon_path(language).read_text(encoding="utf-8").splitlines())
    return dict(rows)


def realise(clauses: Sequence[FilledClause], language: str) -> str:
    """Put a filled problem into `language` (`en` for English as written): words, order, capitals and punctuation."""
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
    """The translation; names and numbers as they are; None for a function word that the language's dictionary lacks."""
    if word in vocabulary().names or word.isdecimal():
        return word
    return table.get(word.lower())


def _phrase(words: Words, language: WorldLanguage) -> list[str]:
    """Arrange a noun phrase, from the outside in: adposition, article, possessive, determiner, number, adjective, noun."""
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
