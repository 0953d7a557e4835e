"""`lilift recipe list | show | validate | plan | run`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.cli.console import console, print_json, table

if TYPE_CHECKING:
    from lilift.memory.plan import Plan
    from lilift.recipe.schema import Recipe

PHASES = ("data", "align", "transfer", "control", "evaluate", "export")


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser("recipe", help="list, show, check, plan and run recipes", description="Everything about recipes.")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    listing = add_action(actions, "list", "the shipped recipes", "lilift recipe list --json")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=run_list)

    show = add_action(actions, "show", "print a recipe's file", "lilift recipe show tiny-cpu > my.yaml")
    add_recipe_arguments(show)
    show.add_argument("--resolved", action="store_true", help="with every default and override written out")
    show.set_defaults(run=run_show)

    validate = add_action(actions, "validate", "check a recipe without running it", "lilift recipe validate my.yaml")
    add_recipe_arguments(validate)
    validate.set_defaults(run=run_validate)

    plan = add_action(actions, "plan", "memory of every phase, before any download", "lilift recipe plan llama-7b-24gb --json")
    add_recipe_arguments(plan)
    plan.add_argument("--json", action="store_true", help="print JSON")
    plan.set_defaults(run=run_plan)

    run = add_action(
        actions,
        "run",
        "run a recipe: data, align, transfer, evaluate, export",
        "lilift recipe run tiny-cpu\n"
        "  lilift recipe run tiny-cpu --resume\n"
        "  lilift recipe run my.yaml --set align.epochs=2 --run-folder runs/two",
    )
    add_recipe_arguments(run)
    run.add_argument("--run-folder", type=Path, metavar="DIR", help="where the run is kept (default: runs/NAME)")
    run.add_argument("--resume", action="store_true", help="go on with what the run folder holds; start if it holds nothing")
    run.add_argument(
        "--restart-from", choices=PHASES, metavar="PHASE", help=f"redo this phase and what follows: {', '.join(PHASES)}"
    )
    run.add_argument("--until", choices=PHASES, metavar="PHASE", help="stop after this phase")
    run.add_argument("--json", action="store_true", help="print the results as JSON at the end")
    run.set_defaults(run=run_run)


def add_action(actions: Any, name: str, description: str, example: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = actions.add_parser(
        name,
        help=description,
        description=description[0].upper() + description[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return made


def add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a shipped recipe's name, or a .yaml file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", dest="overrides", help="override a setting; may be repeated"
    )


def load(arguments: argparse.Namespace) -> Recipe:
    from lilift.recipe.load import load_recipe

    return load_recipe(arguments.recipe, arguments.overrides)


def run_list(arguments: argparse.Namespace) -> int:
    from lilift.recipe.load import load_recipe, shipped_recipes

    recipes = [load_recipe(name) for name in shipped_recipes()]
    if arguments.json:
        print_json([{"name": r.name, "card": r.card, "languages": r.languages, "description": r.description} for r in recipes])
        return 0
    rows = [(r.name, r.card, r.llm.model, r.encoder.model, ", ".join(r.languages), r.description) for r in recipes]
    console().print(table(None, ("recipe", "card", "LLM", "encoder", "languages", "what it does"), rows))
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    from lilift.recipe.load import dump_recipe, find_recipe

    if arguments.resolved or arguments.overrides:
        print(dump_recipe(load(arguments)), end="")
    else:
        print(find_recipe(arguments.recipe).read_text(encoding="utf-8"), end="")
    return 0


def run_validate(arguments: argparse.Namespace) -> int:
    recipe = load(arguments)
    print(f"{recipe.name}: valid ({recipe.card}; {', '.join(recipe.languages)})")
    return 0


def run_plan(arguments: argparse.Namespace) -> int:
    from lilift.memory.plan import make_plan, require_fit

    recipe = load(arguments)
    plan = make_plan(recipe)
    if arguments.json:
        print_json(plan.as_dict())
    else:
        print_plan(plan)
    require_fit(plan)
    return 0


def print_plan(plan: Plan) -> None:
    """The plan as a table, MiB by category and phase."""
    from lilift.memory.card import MIB
    from lilift.memory.plan import CATEGORIES

    shown = [name for name in CATEGORIES if any(phase.parts.get(name, 0) >= MIB / 2 for phase in plan.phases)]
    rows = [
        (
            name.replace("_", " "),
            *(f"{phase.parts.get(name, 0) / MIB:,.0f}" if name in phase.parts else "–" for phase in plan.phases),
        )
        for name in shown
    ]
    rows.append(("predicted peak", *(f"{phase.peak_bytes / MIB:,.0f}" for phase in plan.phases)))
    title = f"{plan.recipe}: predicted memory in MiB; {plan.card} has {plan.limit_bytes / MIB:,.0f}"
    console().print(table(title, ("", *(phase.phase for phase in plan.phases)), rows, right=range(1, len(plan.phases) + 1)))
    trained = ", ".join(f"{stage} {count:,}" for stage, count in plan.trained.items())
    print(f"trained parameters: {trained}")
    if plan.download_bytes:
        print(f"16-bit weights to download: about {plan.download_bytes / 1024**3:.1f} GiB")


def run_run(arguments: argparse.Namespace) -> int:
    from lilift.cli.results import print_results, results_as_dict
    from lilift.phases.run import RunOptions, run_recipe

    recipe = load(arguments)
    folder = arguments.run_folder or Path("runs") / recipe.name
    options = RunOptions(
        resume=arguments.resume, restart_from=arguments.restart_from, until=arguments.until, quiet=arguments.json
    )
    show_plan = None if arguments.json else print_plan
    finished = run_recipe(recipe, folder, options, show_plan=show_plan)
    if arguments.json:
        print_json(results_as_dict(finished))
    else:
        print_results(finished)
    return 0
