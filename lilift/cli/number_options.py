"""Checks of options that are numbers."""

from __future__ import annotations

import argparse

from lilift.recipe.errors import RecipeError


def require_at_least_one(arguments: argparse.Namespace, *names: str) -> None:
    """Check that these options, if they are given, are 1 or more.

    Raises:
        RecipeError: one is smaller.
    """
    for name in names:
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise RecipeError(f"--{name.replace('_', '-')} {value} is too small", remedy="give 1 or more")
