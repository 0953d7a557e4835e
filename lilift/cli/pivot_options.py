"""Options of commands that translate: which translator, and how it works."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lilift.recipe.schema import PivotSettings


BEAMS = 4
"""Hypotheses of the translator, unless the user says otherwise; also the default of `evaluate.pivot.beam_size`."""


def add_pivot_options(parser: argparse.ArgumentParser) -> None:
    """Add `--pivot` and what goes with it."""
    group = parser.add_argument_group("translate the questions first")
    group.add_argument(
        "--pivot",
        metavar="MODEL",
        help="translate the questions into English with this NLLB, M2M100 or Marian model (a CTranslate2 or Hugging Face "
        "folder, or a name on the hub), then let the model answer",
    )
    add_translator_options(group)


def add_translator_options(group: Any) -> None:
    """Add the options that say how a translator works."""
    group.add_argument(
        "--beam-size", type=int, default=BEAMS, metavar="N", help=f"hypotheses of the translator (default: {BEAMS})"
    )
    group.add_argument(
        "--translator-device",
        choices=("auto", "cpu"),
        default="auto",
        help="where the translator runs; auto: on the GPU if CTranslate2 can use it (default)",
    )


def pivot_of(arguments: argparse.Namespace) -> PivotSettings | None:
    """The translator that the options name; None without `--pivot`.

    Raises:
        RecipeError: a number is out of its range.
    """
    from lilift.recipe.errors import RecipeError
    from lilift.recipe.schema import PivotSettings

    if not 1 <= arguments.beam_size <= 64:
        raise RecipeError(f"--beam-size {arguments.beam_size} is out of range", remedy="give a number from 1 to 64")
    if arguments.pivot is None:
        if arguments.beam_size != BEAMS or arguments.translator_device != "auto":
            raise RecipeError("--beam-size and --translator-device have no effect without --pivot", remedy="leave them out")
        return None
    return PivotSettings(model=arguments.pivot, beam_size=arguments.beam_size, device=arguments.translator_device)
