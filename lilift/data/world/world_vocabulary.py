"""The English words of the task world, read from `words.txt`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

Word = tuple[str, ...]
"""The forms of a word: the dictionary form first, then the plural, or the third person and the past."""


@dataclass(frozen=True)
class Vocabulary:
    """Word classes, the words of the patterns, substitutes for missing translations, and names (never translated)."""

    classes: dict[str, tuple[Word, ...]]
    pattern_words: tuple[Word, ...]
    substitutes: dict[str, tuple[str, ...]]
    names: tuple[str, ...]

    def words(self) -> list[Word]:
        """Every word that needs a translation, in order, without repetition."""
        listed = [*self.pattern_words, *(word for words in self.classes.values() for word in words)]
        return list(dict.fromkeys(listed))


@cache
def vocabulary() -> Vocabulary:
    """The vocabulary that ships with lilift."""
    sections: dict[str, list[Word]] = {}
    section: list[Word] = []
    for line in files(__package__).joinpath("words.txt").read_text(encoding="utf-8").splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            section = sections.setdefault(line[1:-1], [])
        elif line and not line.startswith("#"):
            section.extend(tuple(word.replace("_", " ").split("|")) for word in line.split())
    pattern_words = tuple(sections.pop("pattern"))
    substitutes = {word[0]: word[1:] for word in sections.pop("substitutes")}
    names = tuple(word[0] for word in sections.pop("names"))
    return Vocabulary({name: tuple(words) for name, words in sections.items()}, pattern_words, substitutes, names)
