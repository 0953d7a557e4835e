"""Reads a prompt template that a recipe keeps in a YAML file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lilift.recipe.yaml_text import read_yaml

FILE_KEYS = ("before", "after", "respond", "reconstruct")


def read_template(value: Any) -> Any:
    """Replace the path of a template file by the file's content. Any other value stays as it is.

    The content becomes part of the recipe, so a run no longer depends on the file.

    Raises:
        ValueError: lilift cannot read the file, or the file is not a mapping with the right keys.
    """
    if not isinstance(value, str):
        return value
    if not Path(value).is_absolute():
        if Path(value).suffix in (".yaml", ".yml"):
            raise ValueError(f"there is no template file {value}, neither beside the recipe nor in {Path.cwd()}")
        return value
    try:
        found, _ = read_yaml(Path(value).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read the template file ({error.strerror})") from None
    except (UnicodeDecodeError, yaml.YAMLError):
        raise ValueError("the template file is not YAML in UTF-8") from None
    if not isinstance(found, dict):
        raise ValueError(f"the template file is not a mapping with {', '.join(FILE_KEYS)}")
    for key in found:
        if key not in FILE_KEYS:
            raise ValueError(f"the template file has the unknown key {key!r}; use {', '.join(FILE_KEYS)}")
    if not isinstance(found.get("respond"), str):
        raise ValueError("the template file has no text `respond`: add the last words before a response")
    return found
