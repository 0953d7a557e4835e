"""What a text such as ``question=swali,answer=jibu`` means: which column of a file has which role."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

from lilift.recipe.errors import DataError, RecipeError
from lilift.recipe.names.local_paths import local_path
from lilift.recipe.schema.base_settings import Settings

Named = TypeVar("Named", bound=Settings)
_COLUMNS_LAST = re.compile(r"(?P<place>.+?)\s+(?P<columns>[a-z]+\s*=.+)")


class UnknownColumns(DataError):
    """lilift recognises no column for a role, so the user must name it."""


def named_columns(text: str, settings: type[Named], said: str) -> Named:
    """The columns behind ``question=swali,answer=jibu,choices=a+b+c``.

    Args:
        text: roles and names.
        settings: the settings with the roles; a role that takes several columns has them joined by ``+``.
        said: what errors call the text, such as ``--columns``.

    Raises:
        RecipeError: a part is not ``role=name``, there is no such role, or a role is missing.
    """
    found: dict[str, object] = {}
    for part in text.split(","):
        role, equals, name = (piece.strip() for piece in part.partition("="))
        if not equals or not name or role not in settings.model_fields or role in found:
            raise RecipeError(
                f"{said} {text}: {part.strip()!r} does not name a column",
                remedy=f"write role=name, with each role once: {', '.join(settings.model_fields)}",
            )
        found[role] = tuple(name.split("+")) if role == "choices" else name
    missing = [role for role, field in settings.model_fields.items() if field.is_required() and role not in found]
    if missing:
        raise RecipeError(f"{said} {text}: {missing[0]} is missing", remedy=f"add {missing[0]}=…")
    return settings.model_validate(found)


def place_and_columns(text: str) -> tuple[str, str | None]:
    """A place and the columns that stand after it: ``problems.csv question=swali,answer=jibu``; None without columns."""
    found = _COLUMNS_LAST.fullmatch(text)
    if found is None or Path(text).expanduser().exists() or local_path(found["place"]) is None:
        return text, None
    return found["place"], found["columns"]
