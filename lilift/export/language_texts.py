"""Finds texts of a run in each of its languages, on which an export can measure what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from lilift.data.prepared_data import REPORT, load_prepared
from lilift.recipe.storage import JsonLines

MOST = 1000
"""Texts of a language; more would not change the report."""


def texts_by_language(data: Path, languages: Sequence[str]) -> dict[str, tuple[str, list[str]]]:
    """By language code, what the texts are (such as ``questions``) and the texts; English comes first.

    These are the questions that the run has answered, or else the words of the language's dictionary. For English they are the
    instructions. A language without either is left out.

    Args:
        data: the folder of the run's prepared data.
        languages: codes.

    Raises:
        RunFolderError: a file of the run is damaged.
    """
    prepared = load_prepared(data) if (data / REPORT).is_file() else None
    examples = prepared.examples[:MOST] if prepared else []
    found = {"en": ("instructions", _some(example.question for example in examples))}
    for code in dict.fromkeys(languages):
        files = sorted((data.parent / "evaluate").glob(f"*/*/{code}.jsonl"))
        found[code] = ("questions", _some(str(line["question"]) for path in files for line in JsonLines(path).read()))
        if not found[code][1] and prepared and code in prepared.lexicons:
            entries = prepared.lexicons[code].entries.values()
            found[code] = ("words of the dictionary", _some(each.text for translations in entries for each in translations))
    return {code: each for code, each in found.items() if each[1]}


def _some(texts: Iterable[str]) -> list[str]:
    """At most `MOST` different texts, spread evenly."""
    distinct = list(dict.fromkeys(texts))
    return distinct[:: -(-len(distinct) // MOST) or 1]
