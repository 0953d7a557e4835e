"""Who publishes dictionaries, under which licence, and what each is good for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Publisher:
    """A publisher of dictionaries.

    Attributes:
        name: as the command line and lexicons name it.
        title: what it is.
        licence: of the content, as the publisher states it.
        page: where it is described.
        note: what to know before use.
    """

    name: str
    title: str
    licence: str
    page: str
    note: str


PUBLISHERS: Mapping[str, Publisher] = {
    publisher.name: publisher
    for publisher in (
        Publisher(
            "muse",
            "MUSE ground-truth dictionaries, up to 100,000 pairs a language, inflected forms",
            "CC BY-NC 4.0",
            "https://github.com/facebookresearch/MUSE",
            "no commercial use; a third to nine tenths are identity pairs, which are left out",
        ),
        Publisher(
            "wiktionary",
            "Wiktionary's translations as WECHSEL distributes them, dictionary forms",
            "CC BY-SA 3.0 (Wiktionary)",
            "https://github.com/CPJKU/wechsel",
            "share alike; no inflected forms; 1,000 to 100,000 pairs a language",
        ),
        Publisher(
            "gatitos",
            "GATITOS: 4,000 frequent English words and phrases, translated by people into 173 languages",
            "CC BY 4.0",
            "https://github.com/google-research/url-nlp",
            "name Google as its maker",
        ),
        Publisher(
            "afromt",
            "AfroMT: word pairs extracted from parallel text for eight African languages",
            "not stated",
            "https://github.com/machelreid/afromt",
            "no licence is stated: ask its author before you share what you make of it; large and noisy",
        ),
        Publisher(
            "panlex",
            "PanLex Swadesh lists: 207 basic concepts",
            "CC0 1.0",
            "https://panlex.org",
            "small: a supplement, not a dictionary",
        ),
    )
}
