"""Whether a text in a recipe or option means a file or folder here, or a name on the Hugging Face hub: one rule for all.

1. What begins with ``./``, ``../``, ``/`` or ``~`` is a path, whether it exists or not.
2. lilift's own words (``world``, ``stand-in:llm``, ``chat``) keep their meaning.
3. A file or folder of that name is meant where one exists: in the recipe's folder, then in the folder that lilift runs in.
4. Anything else is a name on the hub, where the setting takes one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lilift.recipe.names.language_names import spellings

PREFIXES = ("/", "./", "../", "~")
_PLACEHOLDER = "{language}"
_RELATIVE = ("./", "../", "~/")
"""Texts that are made absolute in every setting; an absolute path is left as it is written."""

# Settings that take a path, `*` for any key or number, with the words that are no path there.
_STAND_INS = ("none", "stand-in:llm", "stand-in:encoder")
_SETTINGS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("encoder", "model"): _STAND_INS,
    ("encoder", "adapt", "text"): (),
    ("encoder", "adapt", "text", "*"): (),
    ("llm", "model"): _STAND_INS,
    ("data", "instructions", "source"): ("world",),
    ("data", "translations"): (),
    ("data", "translations", "*"): (),
    ("data", "monolingual", "files"): (),
    ("data", "monolingual", "files", "*"): (),
    ("data", "lexicons"): ("world",),
    ("data", "lexicons", "*"): ("world",),
    ("data", "template"): ("plain", "metamath", "alpaca", "chat"),
    ("data", "held_out", "*", "path"): (),
    ("evaluate", "benchmarks", "*", "path"): (),
    ("evaluate", "during", "path"): (),
    ("evaluate", "alignment"): ("world", "none"),
    ("evaluate", "pivot", "model"): (),
}


def is_written_as_path(text: str) -> bool:
    """Whether a text can only be a path."""
    return text.startswith(PREFIXES) or Path(text).is_absolute()


def local_path(text: str, folder: Path | None = None) -> Path | None:
    """The path that a text means, or None where it can only be a name on the hub.

    Args:
        text: as a recipe or option has it.
        folder: what it is relative to; the current folder if left out.
    """
    path = (folder or Path()) / Path(text).expanduser()
    if is_written_as_path(text):
        return path
    try:
        return path if text.strip() and path.exists() else None
    except (OSError, ValueError):  # too long for a name, or a zero byte in it
        return None


def local_folder(name: str) -> Path | None:
    """The folder that the name of a model means, which may be missing; None where it is a name on the hub."""
    path = local_path(name)
    return path if path is not None and (is_written_as_path(name) or path.is_dir()) else None


def neither(text: str, on_the_hub: str) -> str:
    """What to say of a text without a prefix that is found in neither place.

    Args:
        text: as a recipe or option has it.
        on_the_hub: what the hub says of it.
    """
    return on_the_hub if is_written_as_path(text) else f"no file or folder of that name in {Path.cwd()}, and {on_the_hub}"


def resolve_settings(value: Any, folder: Path, key: Sequence[str] = ()) -> Any:
    """Settings with every text that stands for a local file made absolute, from the folder that it was written in.

    Args:
        value: a section, list or value of a recipe.
        folder: what paths are relative to.
        key: where in the recipe the value stands.
    """
    if isinstance(value, dict):
        return {name: resolve_settings(item, folder, (*key, str(name))) for name, item in value.items()}
    if isinstance(value, list):
        return [resolve_settings(item, folder, (*key, str(number))) for number, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    if value.startswith(_RELATIVE):
        return str((folder / Path(value).expanduser()).resolve())
    words = _words_beside_paths(tuple(key))
    if words is None or value in words or is_written_as_path(value) or not _exists(value, folder):
        return value
    return str((folder / value).resolve())


def fill_language(template: str, code: str) -> str:
    """A path with `{language}` filled in: with the spelling of the language that a file has, or else with its code."""
    if _PLACEHOLDER not in template:
        return template
    filled = (template.replace(_PLACEHOLDER, name) for name in file_spellings(code))
    return next((text for text in filled if Path(text).expanduser().exists()), template.replace(_PLACEHOLDER, code))


def file_spellings(code: str) -> list[str]:
    """Spellings in the capitals that file names have: FLORES codes are `swh_Latn`, names may be `Swahili`."""
    found: dict[str, None] = {}
    for name in spellings(code):
        found |= dict.fromkeys((name, name.title(), name.upper()))
    return list(found)


def _words_beside_paths(key: tuple[str, ...]) -> tuple[str, ...] | None:
    """The words of a setting that takes a path, or None if it takes none."""
    for pattern, words in _SETTINGS.items():
        if len(pattern) == len(key) and all(one in ("*", other) for one, other in zip(pattern, key, strict=True)):
            return words
    return None


def _exists(value: str, folder: Path) -> bool:
    """Whether a file or folder of that name is there; with a placeholder, any file that it may stand for."""
    if _PLACEHOLDER not in value:
        return local_path(value, folder) is not None
    try:
        return next(iter(folder.glob(value.replace(_PLACEHOLDER, "*"))), None) is not None
    except (ValueError, NotImplementedError, OSError):  # no pattern, or none that stays in the folder
        return False
