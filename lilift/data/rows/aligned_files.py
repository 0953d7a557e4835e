"""Translations in two files, the same line of both saying the same: ``train.en`` beside ``train.sw``, as in corpora of OPUS."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from lilift.data.languages import Language
from lilift.data.text_files import read_lines
from lilift.recipe.errors import DataError

_COMPRESSED = ("", ".gz", ".bz2", ".xz", ".zst")
_ENGLISH: tuple[str, ...] = ("en", "eng", "eng_Latn", "english")


def aligned_files(location: Path, known: Language) -> list[tuple[Path, Path]]:
    """The pairs of files, English first, that a path names: either file of a pair, or a folder with pairs of this language.

    Returns:
        No pair if the path is something else.
    """
    if location.is_dir():
        pairs = (_pair(path, known) for path in sorted(location.iterdir()) if path.is_file() and _ending(path) in _own(known))
        return [pair for pair in pairs if pair is not None]
    pair = _pair(location, known)
    return [pair] if pair is not None else []


def read_aligned_files(english: Path, translated: Path) -> Iterator[tuple[str, str]]:
    """The English and the translated text of each line.

    Raises:
        DataError: a file cannot be read, or one has more lines than the other.
    """
    pairs = itertools.zip_longest(read_lines(english, recode=True), read_lines(translated, recode=True))
    for number, (one, other) in enumerate(pairs, start=1):
        if one is None or other is None:
            longer, shorter = (translated, english) if one is None else (english, translated)
            raise DataError(
                f"line {number} has no counterpart, because {shorter.name} ends at line {number - 1}",
                where=longer,
                remedy="restore both files from their source",
            )
        yield one[1], other[1]


def _own(known: Language) -> tuple[str, ...]:
    flores = (known.flores, known.flores.partition("_")[0]) if known.flores else ()
    return (known.code, *flores, known.name.lower())


def _ending(path: Path) -> str:
    """The last part of a name, without that of a compression: ``sw`` of ``train.sw.gz``."""
    return _without_compression(path).suffix[1:]


def _without_compression(path: Path) -> Path:
    return path.with_suffix("") if path.suffix in _COMPRESSED[1:] else path


def _pair(path: Path, known: Language) -> tuple[Path, Path] | None:
    """A file and its counterpart, English first; None if there is no counterpart."""
    plain, ending = _without_compression(path), _ending(path)
    if ending in _own(known):
        others = _ENGLISH
    elif ending in _ENGLISH:
        others = _own(known)
    else:
        return None
    candidates = (plain.with_suffix(f".{other}{compression}") for other in others for compression in _COMPRESSED)
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is None or not path.is_file():
        return None
    return (found, path) if others is _ENGLISH else (path, found)
