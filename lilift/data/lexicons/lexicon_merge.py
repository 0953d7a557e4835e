"""One lexicon of several for the same language, and what the merged one leaves out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Literal, NamedTuple

from lilift.data.lexicons.lexicon import EXAMPLES, Lexicon, Source, Translation
from lilift.recipe.errors import DataError

Keep = Literal["first", "all"]


class Shadowed(NamedTuple):
    """Pairs of a lexicon that a merged one does not have, because an earlier lexicon has the word."""

    lexicon: Lexicon
    pairs: int
    examples: tuple[str, ...]


def merge_lexicons(lexicons: Sequence[Lexicon], keep: Keep = "first") -> Lexicon:
    """One lexicon of several for the same language, the most trusted first.

    Args:
        lexicons: at least one.
        keep: ``first``: a word has the translations of the first lexicon that knows it, later ones fill gaps. ``all``: a word
            has every lexicon's translations; each lexicon has the same say, so what several agree on weighs more.

    Raises:
        DataError: they are for different languages, or two different sources have the same name.
    """
    known = lexicons[0].language
    for lexicon in lexicons:
        if lexicon.language != known:
            raise DataError(
                f"cannot merge a lexicon of {lexicon.language.name} with one of {known.name}",
                where=lexicon.source,
                remedy="merge lexicons of one language",
            )
    entries: dict[str, dict[str, Translation]] = {}
    for lexicon in lexicons:
        for word, found in lexicon.entries.items():
            if keep == "first":
                entries.setdefault(word, {item.text: item for item in found})
            else:
                _add_share(entries.setdefault(word, {}), found)
    merged = {word: tuple(found.values()) for word, found in entries.items()}
    return Lexicon(known, merged, _distinct_sources(lexicons))


def _add_share(into: dict[str, Translation], found: Sequence[Translation]) -> None:
    total = sum(item.weight for item in found)
    for item in found:
        before = into.get(item.text)
        weight = item.weight / total
        into[item.text] = replace(item, weight=weight) if before is None else replace(before, weight=before.weight + weight)


def _distinct_sources(lexicons: Sequence[Lexicon]) -> tuple[Source, ...]:
    by_name: dict[str, Source] = {}
    for lexicon in lexicons:
        for source in lexicon.sources:
            if by_name.setdefault(source.name, source) != source:
                raise DataError(
                    f"two different sources are called {source.name!r}",
                    where=source.location,
                    remedy="give one of them another --name when you import it",
                )
    return tuple(by_name.values())


def shadowed_pairs(lexicons: Sequence[Lexicon]) -> list[Shadowed]:
    """What `merge_lexicons` leaves out of each lexicon when a word has the first one's translations."""
    before: dict[str, set[str]] = {}
    found = []
    for lexicon in lexicons:
        lost = list(_lost(lexicon, before))
        found.append(Shadowed(lexicon, len(lost), tuple(islice(lost, EXAMPLES))))
        for word, translations in lexicon.entries.items():
            before.setdefault(word, {item.text for item in translations})
    return found


def _lost(lexicon: Lexicon, before: dict[str, set[str]]) -> Iterator[str]:
    for word, translations in lexicon.entries.items():
        kept = before.get(word)
        if kept is not None:
            yield from (f"{word} → {item.text}" for item in translations if item.text not in kept)
