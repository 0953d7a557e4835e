"""Reads the tables of `lilift routes`: which models say that they know a language, and how large its public dictionaries are.

The headers of `model_languages.tsv` and `dictionary_sizes.tsv` name the sources. This module imports no heavy package.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

from lilift.data.lexicons.publishers import sources_for

Role = Literal["encoder", "translator", "llm"]
_TRUST = ("gatitos", "wiktionary", "muse", "panlex", "afromt")
"""Publishers in the order in which `lilift lexicon fetch` should take a word: people first, extracted pairs last."""


@dataclass(frozen=True)
class ModelLanguages:
    """A family of models, and the languages that its authors name.

    Attributes:
        role: what lilift uses the family for.
        name: name of the family.
        model: name on the hub; for LLMs the beginning of the names of all its models.
        counted: number of languages that the authors count.
        languages: lilift's codes; empty if the authors give no list.
    """

    role: Role
    name: str
    model: str
    counted: int
    languages: frozenset[str]


@dataclass(frozen=True)
class Dictionary:
    """A public dictionary of a language.

    Attributes:
        source: its publisher, as `lilift lexicon fetch` names it.
        pairs: word pairs after lilift's filters; None if nobody has measured it.
        coverage: share of the words of GSM8K's training questions that it translates; None if nobody has measured it.
    """

    source: str
    pairs: int | None
    coverage: float | None


@cache
def model_families() -> tuple[ModelLanguages, ...]:
    """All families of the table, in its order: of LLMs, the first is the first to try."""
    return tuple(
        ModelLanguages(_role(role), name, model, int(counted), frozenset(codes.split()))
        for role, name, model, counted, codes in _rows("model_languages.tsv")
    )


def families_for(code: str, role: Role) -> list[ModelLanguages]:
    """The families of a role whose authors name the language."""
    return [family for family in model_families() if family.role == role and code in family.languages]


def without_list(role: Role) -> list[ModelLanguages]:
    """The families whose authors count languages, but give no list."""
    return [family for family in model_families() if family.role == role and not family.languages]


def dictionaries_for(code: str) -> list[Dictionary]:
    """The dictionaries that `lilift lexicon fetch` can get for a language, the most trustworthy first."""
    sizes = {
        source: (int(pairs), float(coverage))
        for language, source, pairs, coverage in _rows("dictionary_sizes.tsv")
        if language == code
    }
    known = {*sources_for(code), *sizes}
    return [Dictionary(source, *sizes.get(source, (None, None))) for source in _TRUST if source in known]


def _role(text: str) -> Role:
    for role in ("encoder", "translator", "llm"):
        if text == role:
            return role
    raise AssertionError(text)


def _rows(name: str) -> Iterator[list[str]]:
    """The rows of a table, without comments and header."""
    lines = (resources.files("lilift.phases.routes") / name).read_text(encoding="utf-8").splitlines()
    _, *rows = (line for line in lines if not line.startswith("#"))
    return (row.split("\t") for row in rows)
