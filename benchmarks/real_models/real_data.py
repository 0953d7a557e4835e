"""SIB-200 and its dictionaries for the experiment: English sentences to learn from, drawn test sentences in every language."""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

from lilift.data.languages import languages

LOW = tuple(sorted(code for code, known in languages().items() if known.tier == "low"))
"""MMWP's low-resource languages. multilingual-e5-small has read all of them but Luxembourgish (XLM-R's list of languages)."""
TEST_ROWS = 204
_WIKTIONARY = """
af afrikaans ar arabic be belarusian bn bengali eu basque gu gujarati ha hausa hi hindi hy armenian is icelandic kn kannada
lb luxembourgish mk macedonian ml malayalam mr marathi ne nepali sk slovak sw swahili ta tamil te telugu th thai
"""
WIKTIONARY = dict(zip(_WIKTIONARY.split()[::2], _WIKTIONARY.split()[1::2], strict=True))
"""The files of WECHSEL's Wiktionary dictionaries (github.com/CPJKU/wechsel)."""


def sentences(data: Path, code: str, split: str) -> list[dict[str, str]]:
    """The rows of a split of SIB-200, with `index_id`, `category` and `text`."""
    with gzip.open(data / "sib200_flores_parallel" / f"{code}.tsv.gz", "rt", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row["split"] == split]


def write_training(data: Path, path: Path) -> Path:
    """Write the English training sentences with their topics."""
    rows = sentences(data, "en", "train")
    return _write(path, ({"question": row["text"], "response": row["category"]} for row in rows))


def write_tests(data: Path, folder: Path, count: int, codes: Iterable[str]) -> Path:
    """Write one file a language with the same `count` drawn test sentences.

    They are drawn, because the file is sorted by topic: its first 60 rows have two topics.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places = sorted(random.Random(0).sample(range(TEST_ROWS), count))
    for code in codes:
        rows = sentences(data, code, "test")
        asked = ({"id": rows[at]["index_id"], "question": rows[at]["text"], "answer": rows[at]["category"]} for at in places)
        _write(folder / f"{code}.jsonl", asked)
    return folder


def dictionaries(data: Path) -> dict[str, Path]:
    """A Wiktionary dictionary of every language."""
    return {code: data / "lexicon_wechsel_wiktionary" / f"{name}.txt.gz" for code, name in WIKTIONARY.items()}


def _write(path: Path, rows: Iterable[Mapping[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
