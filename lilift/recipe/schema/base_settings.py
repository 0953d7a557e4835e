"""What every section of a recipe shares: the base class of its models, and the names of number types."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Dtype = Literal["float32", "bfloat16", "float16"]


class Settings(BaseModel):
    """A section of a recipe. It refuses unknown keys, and it cannot be changed after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=False, validate_default=True, allow_inf_nan=False, defer_build=True
    )


def none_as_nothing(value: object) -> object:
    """Accept the word `none`, with which a recipe takes back what the recipe that it extends says."""
    return None if value == "none" else value
