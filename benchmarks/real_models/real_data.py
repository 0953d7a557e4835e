"""SIB-200 and its dictionaries for the experiment: English sentences to learn from, drawn test sentences in every language.

Data folders have one of two forms. `download_data` makes the first one, from the publishers' addresses.

    sib200/swh_Latn/test.tsv                  sib200_flores_parallel/sw.tsv.gz   all splits in one table, nothing in quotes
    wiktionary/swahili.txt                    lexicon_wechsel_wiktionary/swahili.txt.gz
"""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from lilift.data.downloads import WebFile, download
from lilift.data.languages import languages
from lilift.data.lexicons.published_dictionaries import fetch
from lilift.data.lexicons.publishers import PUBLISHERS, Download, download_for
from lilift.evaluate.benchmarks.benchmark_fetch import PUBLIC, public_files
from lilift.evaluate.benchmarks.benchmark_sources import languages_of

LOW = tuple(sorted(code for code, known in languages().items() if known.tier == "low"))
"""MMWP's low-resource languages. multilingual-e5-small has read all of them but Luxembourgish (XLM-R's list of languages)."""
TEST_ROWS = 204
SIB200 = languages_of("sib200")
WIKTIONARY = "wiktionary"
ENGLISH = (
    ("eng_Latn/train.tsv", 102878, "056c2989673d0724cb27edb0d9ee5c6305b2548c17f9fd8f2092f40c98ac0156"),
    ("eng_Latn/dev.tsv", 13639, "48fe23ed3c66e6978c6cdeff3f661ab9ea6451001d967e23d94796b009777181"),
)
"""What the experiment reads of SIB-200 beside the test files that lilift knows: name, bytes and SHA-256."""


def download_data(folder: Path, *, host: str | None = None, say: Callable[[str], None] = print) -> Path:
    """Download what the experiment reads, but for files that are there already.

    Args:
        folder: where the data go.
        host: the server of SIB-200; its own if left out.
        say: receives a line with the licence before each group of files.

    Raises:
        EnvironmentUnfit: lilift cannot reach the servers.
        DataError: a server sends another file than the published one.
        StorageError: the folder cannot be written.
    """
    source, wanted = PUBLIC["sib200"], {SIB200[code] for code in ("en", *LOW)}
    say(f"SIB-200 from {source.host}/{source.place}; licence: {source.licence}")
    tests = [(file.name, file.size, file.sha256) for file in public_files("sib200") if file.name.partition("/")[0] in wanted]
    for name, size, sha256 in (*ENGLISH, *tests):
        file, path = WebFile(f"{host or source.host}/{source.place}/{name}", sha256, size), folder / "sib200" / name
        if not file.is_at(path):
            download(file, path)
    publisher = PUBLISHERS[WIKTIONARY]
    say(f"dictionaries from {publisher.page}; licence: {publisher.licence}")
    for code in LOW:
        fetch(publisher, _dictionary_of(code), folder)
    return folder


def sentences(data: Path, code: str, split: str) -> list[dict[str, str]]:
    """The rows of a split of SIB-200, with `index_id`, `category` and `text`."""
    published = data / "sib200" / SIB200[code] / f"{split}.tsv"
    if published.is_file():
        with published.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))
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
    """A Wiktionary dictionary of every language, as WECHSEL distributes them (github.com/CPJKU/wechsel)."""
    found = {}
    for code in LOW:
        name = _dictionary_of(code).file
        published = data / WIKTIONARY / name
        found[code] = published if published.is_file() else data / "lexicon_wechsel_wiktionary" / f"{name}.gz"
    return found


def _dictionary_of(code: str) -> Download:
    dictionary = download_for(WIKTIONARY, code)
    assert dictionary is not None, f"no Wiktionary dictionary for {code}"
    return dictionary


def _write(path: Path, rows: Iterable[Mapping[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
