"""What several sections of a recipe share: the base class of their models, the names of number types, files by language."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from lilift.recipe.language_groups import by_language
from lilift.recipe.names.local_paths import fill_language

Dtype = Literal["float32", "bfloat16", "float16"]


class Settings(BaseModel):
    """A section of a recipe. It refuses unknown keys, and it cannot be changed after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=False, validate_default=True, allow_inf_nan=False, defer_build=True
    )


def none_as_nothing(value: object) -> object:
    """Accept the word `none`, with which a recipe takes back what the recipe that it extends says."""
    return None if value == "none" else value


def one_for_all(value: object) -> object:
    """Accept one text for all languages where a mapping from languages to texts is meant."""
    return {"*": value} if isinstance(value, str) else by_language(value)


def location_of(places: dict[str, str], language: str) -> str | None:
    """The place of what belongs to `language` in such a mapping, or None if it names none."""
    text = places.get(language, places.get("*"))
    return fill_language(text, language) if text is not None else None
