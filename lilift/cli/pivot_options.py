"""Options of commands that translate: which translator, and how it works."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lilift.phases.answering.route_rule import RouteSettings
    from lilift.recipe.schema import PivotSettings


BEAMS = 4
"""Hypotheses of the translator, unless the user says otherwise; also the default of `evaluate.pivot.beam_size`."""


def add_pivot_options(parser: argparse.ArgumentParser) -> None:
    """Add `--pivot` and what goes with it."""
    group = parser.add_argument_group("translate the questions first, or answer in another language")
    group.add_argument(
        "--pivot",
        metavar="MODEL",
        help="translate the questions into English with this NLLB, M2M100 or Marian model (a CTranslate2 or Hugging Face "
        "folder, or a name on the hub), then let the model answer",
    )
    group.add_argument(
        "--respond-in",
        choices=("english", "asked"),
        default="english",
        help="language of the answers. english: as the model answers (default). asked: that of the question; --pivot "
        "translates English answers; an LLM that reads the question as text is asked to answer in its language",
    )
    group.add_argument(
        "--pivot-back",
        metavar="MODEL",
        help="with --respond-in asked: another translator for the answers, if --pivot knows one direction alone (Marian)",
    )
    add_translator_options(group)


def add_route_options(parser: argparse.ArgumentParser) -> None:
    """Add `--route` and its limits."""
    from lilift.phases.answering.route_rule import BITS_PER_WORD, ROUTES, TOKENS_PER_WORD

    group = parser.add_argument_group("how questions reach the LLM")
    group.add_argument(
        "--route",
        choices=("auto", *ROUTES),
        help="plain: the LLM reads the text. pivot: it reads a translation. bridge: it reads soft tokens. auto: "
        "plain if the question has at most so many tokens and bits a word, otherwise pivot if the translation has every "
        "number, otherwise bridge; each answer names its route (default: pivot with --pivot, otherwise the model's own way)",
    )
    group.add_argument(
        "--route-tokens-per-word",
        type=float,
        metavar="N",
        help=f"for auto: the most tokens a word that the LLM reads as text (default: {TOKENS_PER_WORD:g})",
    )
    group.add_argument(
        "--route-bits-per-word",
        type=float,
        metavar="N",
        help=f"for auto: the most bits a word, the LLM's surprise at the question (default: {BITS_PER_WORD:g})",
    )


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
    if arguments.pivot_back is not None and (arguments.pivot is None or arguments.respond_in != "asked"):
        raise RecipeError("--pivot-back has no effect without --pivot and --respond-in asked", remedy="leave it out")
    if arguments.pivot is None:
        if arguments.beam_size != BEAMS or arguments.translator_device != "auto":
            raise RecipeError("--beam-size and --translator-device have no effect without --pivot", remedy="leave them out")
        return None
    return PivotSettings(
        model=arguments.pivot,
        back=arguments.pivot_back,
        beam_size=arguments.beam_size,
        device=arguments.translator_device,
    )


def route_of(arguments: argparse.Namespace) -> RouteSettings | None:
    """The route that the options choose; None without `--route`.

    Raises:
        RecipeError: a limit is out of its range, or has no effect.
    """
    from lilift.phases.answering.route_rule import BITS_PER_WORD, TOKENS_PER_WORD, RouteSettings
    from lilift.recipe.errors import RecipeError

    limits = {"tokens_per_word": arguments.route_tokens_per_word, "bits_per_word": arguments.route_bits_per_word}
    for name, limit in limits.items():
        option = f"--route-{name.replace('_', '-')}"
        if limit is not None and arguments.route != "auto":
            raise RecipeError(f"{option} has no effect without --route auto", remedy="leave it out")
        if limit is not None and not 0 <= limit < float("inf"):
            raise RecipeError(f"{option} {limit:g} is out of range", remedy="give 0 or more")
    if arguments.route is None:
        return None
    defaults = {"tokens_per_word": TOKENS_PER_WORD, "bits_per_word": BITS_PER_WORD}
    chosen = {name: defaults[name] if limit is None else limit for name, limit in limits.items()}
    return RouteSettings(arguments.route, **chosen)
