"""Finds encoders that were trained with words before every text, and recipes that leave these words out."""

from __future__ import annotations

import re
from pathlib import Path

from lilift.recipe import storage
from lilift.recipe.errors import LiliftError
from lilift.recipe.schema import EncoderSettings

# Models of the E5 family (arXiv 2212.03533, 2402.05672), such as intfloat/multilingual-e5-small.
_E5 = re.compile(r"(?:^|[^a-z0-9])e5(?:[^a-z0-9]|$)")


def missing_prefix(settings: EncoderSettings, folder: Path) -> str | None:
    """A line for the user if the encoder was trained with words before every text, and the recipe names none.

    Args:
        settings: the recipe's section `encoder`.
        folder: holds the encoder's config.json.
    """
    if settings.prefix:
        return None
    names = [settings.model, _name_in(folder / "config.json")]
    found = next((name for name in names if _E5.search(name.lower())), None)
    if found is None:
        return None
    # The -instruct models of the family have an instruction of their own, which only their model cards name.
    words = "the instruction in its model card" if "instruct" in found.lower() else "`query: `"
    return f"{found} is an encoder of the E5 family, which reads {words} before every text: set `encoder.prefix`"


def _name_in(path: Path) -> str:
    """The name under which a model was saved, from its config.json; empty if there is none."""
    try:
        content = storage.read_json(path)
    except LiliftError:  # the checks of the model itself report this
        return ""
    return str(content.get("_name_or_path", "")) if isinstance(content, dict) else ""
