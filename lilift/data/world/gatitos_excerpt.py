"""Makes the excerpt of GATITOS that the task world needs.

Run `python -m lilift.data.world.gatitos_excerpt FOLDER`, where FOLDER holds the full `en_*.tsv` files.

For every word of `words.txt` it takes the first usable translation of its dictionary form, or else of another form or of its
substitute. It removes notes in brackets and keeps the first of several alternatives in a line. It skips affixes, entries equal
to the English word, and entries with more than three words. Every English form gets a row with the translation of its
dictionary form.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from lilift.data.world.world_languages import WORLD_LANGUAGES, lexicon_path
from lilift.data.world.world_vocabulary import vocabulary
from lilift.recipe.errors import DataError

FUNCTION_WORDS = frozenset(["the", "in", "on", "at", "to", "from", "near", "among", "for", "my", "only"])
"""Words that a language may not have; its texts leave them out. For any other word, a missing translation is an error."""


def read_full(path: Path) -> dict[str, str]:
    """English entry → its first usable translation, from a full GATITOS file."""
    table: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        english, _, translation = line.partition("\t")
        usable = _clean(translation)
        if usable and usable != english.lower():
            table.setdefault(english.lower(), usable)
    return table


def _clean(translation: str) -> str | None:
    without_notes = re.sub(r"\[.*?\]|\(.*?\)", "", translation)
    first = re.split(r"[,;/\t]", without_notes)[0].strip(" .!?").lower()
    is_affix = first.startswith("-") or first.endswith("-")
    return None if not first or is_affix or len(first.split()) > 3 or re.search(r"[\d\[\]()]", first) else first


def cut(full: dict[str, str], language: str) -> dict[str, str]:
    """The rows of one language's excerpt.

    Raises:
        DataError: the full file has no translation for a word that the world needs.
    """
    words = vocabulary()
    rows: dict[str, str] = {}
    for word in words.words():
        candidates = (*word, *words.substitutes.get(word[0], ()))
        found = next((full[candidate.lower()] for candidate in candidates if candidate.lower() in full), None)
        if found is None and word[0] not in FUNCTION_WORDS:
            raise DataError(
                f"GATITOS has no translation of {word[0]!r} in {language!r}",
                remedy="use the full GATITOS files, or add a substitute for the word to words.txt",
            )
        for form in word:
            if found is not None:
                rows.setdefault(form.lower(), found)
    return rows


def write_excerpts(folder: Path) -> None:
    """Write every language's excerpt from the full files in `folder`."""
    for language in WORLD_LANGUAGES:
        rows = cut(read_full(folder / f"en_{language}.tsv"), language)
        text = "".join(f"{english}\t{translation}\n" for english, translation in sorted(rows.items()))
        lexicon_path(language).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_excerpts(Path(sys.argv[1]))
