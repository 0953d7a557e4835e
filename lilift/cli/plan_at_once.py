"""Prints a plan from fitted lines: at once, and without torch."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from lilift.cli.console import print_json
from lilift.recipe.terminal import is_terminal

if TYPE_CHECKING:
    from lilift.memory.instant_plan import InstantPlan
    from lilift.recipe.schema import Recipe


def say_instant_plan(recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Print one line at once, on standard error: the whole plan takes seconds, because it runs the recipe on fake tensors."""
    from lilift.memory.instant_plan import is_fitted

    if (arguments.card or recipe.card) == "auto":  # to look for this machine's card takes as long as the plan
        return
    if not is_fitted(recipe, arguments.card) or recipe.encoder.adapt is not None:
        if is_terminal(sys.stderr):  # elsewhere, an error stays the only line on standard error
            print(f"{recipe.name}: lilift plans each phase, which takes some seconds", file=sys.stderr, flush=True)
        return
    plan = _with_translator(recipe, arguments.card)
    peak, total = plan.peak_bytes / 2**30, plan.card.total_bytes / 2**30
    about = f"{recipe.name} on {plan.card.name}: about {peak:.1f} of {total:.1f} GiB at the peak"
    print(f"{about}; the whole plan takes some seconds", file=sys.stderr, flush=True)


def _with_translator(recipe: Recipe, card: str | None) -> InstantPlan:
    """The plan from fitted lines, with what is computed for the recipe's translator."""
    from dataclasses import replace

    from lilift.memory.instant_plan import instant_plan
    from lilift.phases.translator_plan import phases_with_translator

    plan = instant_plan(recipe, card=card)
    return replace(plan, phases=phases_with_translator(plan.phases, recipe, plan.card))


def run_instant_plan(recipe: Recipe, arguments: argparse.Namespace) -> int:
    """Plan from fitted lines: at once, and without torch.

    Raises:
        EnvironmentUnfit: torch is not installed, and there are no lines for this recipe.
        RecipeError: `--instant`, and there are no lines for this recipe.
    """
    from lilift.cli.plan_output import print_instant_plan
    from lilift.memory.instant_plan import is_fitted
    from lilift.phases.translator_plan import translator_line
    from lilift.recipe.errors import EnvironmentUnfit

    if not arguments.instant:
        remedy = "install it with `pip install 'lilift[train]'`"
        if not is_fitted(recipe, arguments.card):
            raise EnvironmentUnfit("lilift plans this recipe by running it on fake tensors of torch, which is not installed",
                where=recipe.name, remedy=remedy)  # fmt: skip
        print(
            "torch is not installed, so that this plan comes from fitted lines, as with --instant: lilift looked for no model, "
            f"lexicon or benchmark; for the whole plan {remedy}",
            file=sys.stderr,
        )
    plan = _with_translator(recipe, arguments.card)
    if arguments.json:
        print_json(plan.as_dict())
    else:
        print_instant_plan(plan)
        translator = translator_line(recipe, plan.card)
        if translator:
            print(translator)
        if plan.left_out:
            left_out = ", ".join(plan.left_out)
            print(f"without {left_out}, for which lilift has no fitted lines: leave out --instant for the whole plan")
    plan.require_fit()
    return 0
