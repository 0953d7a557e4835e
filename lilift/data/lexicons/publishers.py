"""Who publishes dictionaries, under which licence, what each is good for, and which files there are (`downloads.tsv`).

`downloads.tsv` has a row a file: source, language (`*` where one file serves all), file, and its SHA-256 where the address is
pinned to a commit, so that the file cannot change; for the others lilift keeps the first download's sum
(`published_dictionaries.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Publisher:
    """A publisher of dictionaries.

    Attributes:
        name: as the command line and lexicons name it.
        title: what it is.
        licence: of the content, as the publisher states it.
        page: where it is described.
        note: what to know before use.
        files: address of the folder that its files are in.
    """

    name: str
    title: str
    licence: str
    page: str
    note: str
    files: str


@dataclass(frozen=True)
class Download:
    """A publisher's file.

    Attributes:
        source: the publisher's name.
        file: its name there.
        sha256: of its content, or empty where the publisher may change it.
    """

    source: str
    file: str
    sha256: str


PUBLISHERS: Mapping[str, Publisher] = {
    publisher.name: publisher
    for publisher in (
        Publisher(
            "muse",
            "MUSE ground-truth dictionaries, up to 100,000 pairs a language, inflected forms",
            "CC BY-NC 4.0",
            "https://github.com/facebookresearch/MUSE",
            "no commercial use; a third to nine tenths are identity pairs, which are left out",
            # Table "Ground-truth bilingual dictionaries" of its README.
            "https://dl.fbaipublicfiles.com/arrival/dictionaries/",
        ),
        Publisher(
            "wiktionary",
            "Wiktionary's translations as WECHSEL distributes them, dictionary forms",
            "CC BY-SA 3.0 (Wiktionary)",
            "https://github.com/CPJKU/wechsel",
            "share alike; no inflected forms; 1,000 to 100,000 pairs a language",
            # wechsel/__init__.py loads its dictionaries from there (branch main; here the commit).
            "https://raw.githubusercontent.com/CPJKU/wechsel/395e3d446ecc1f000aaf4dea2da2003d16203f0b/dicts/data/",
        ),
        Publisher(
            "gatitos",
            "GATITOS: 4,000 frequent English words and phrases, translated by people into 173 languages",
            "CC BY 4.0",
            "https://github.com/google-research/url-nlp",
            "name Google as its maker",
            # gatitos/README.md; the last commit before the files moved to the hub.
            "https://raw.githubusercontent.com/google-research/url-nlp/3622039cf51f7eeffa58b957332a8e8c337981d7/gatitos/",
        ),
        Publisher(
            "afromt",
            "AfroMT: word pairs extracted from parallel text for eight African languages",
            "not stated",
            "https://github.com/machelreid/afromt",
            "no licence is stated: ask its author before you share what you make of it; large and noisy",
            # README, "Other tidbits": the folder dictionaries/.
            "https://raw.githubusercontent.com/machelreid/afromt/764e13c81d114dec4eb28ac0184bcd312f95a8bc/dictionaries/",
        ),
        Publisher(
            "panlex",
            "PanLex Swadesh lists: 207 basic concepts",
            "CC0 1.0",
            "https://panlex.org",
            "small: a supplement, not a dictionary",
            # index.xml of nltk/nltk_data, which NLTK's downloader reads (branch gh-pages; here the commit).
            "https://raw.githubusercontent.com/nltk/nltk_data/5db857e6f7df11eabb5e5665836db9ec8df07e28/packages/corpora/",
        ),
    )
}


def download_for(source: str, code: str) -> Download | None:
    """The file that a publisher has for a language, or None."""
    files = _downloads()[source]
    return files.get(code, files.get("*"))


def sources_for(code: str) -> list[str]:
    """Publishers with a file for this very language."""
    return [source for source, files in _downloads().items() if code in files]


@cache
def _downloads() -> Mapping[str, Mapping[str, Download]]:
    text = (resources.files("lilift.data.lexicons") / "downloads.tsv").read_text(encoding="utf-8")
    found: dict[str, dict[str, Download]] = {source: {} for source in PUBLISHERS}
    for line in text.splitlines()[1:]:
        source, code, file, sha256 = line.split("\t")
        found[source][code] = Download(source, file, sha256)
    return found
