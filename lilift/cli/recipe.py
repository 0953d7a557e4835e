"""`lilift recipe list | new | show | validate | plan | run`: everything that a user does with recipes."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.cli import recipe_new
from lilift.cli.command_lines import PROCESSES, resume_command, resume_in_new_process
from lilift.cli.console import HelpFormatter, print_json, print_table
from lilift.cli.plan_at_once import run_instant_plan, say_instant_plan
from lilift.cli.several_processes import launch_run, require_processes, run_with_others
from lilift.processes.torchrun_environment import started_by_torchrun

if TYPE_CHECKING:
    from lilift.recipe.errors import LiliftError
    from lilift.recipe.schema import Recipe

PHASES = ("data", "adapt", "align", "transfer", "control", "evaluate", "export")


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "recipe",
        help="list, write, show, check, plan and run recipes",
        description="List, write, show, check, plan and run recipes.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    listing = add_action(actions, "list", "list the shipped recipes", "lilift recipe list --json")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=run_list)

    recipe_new.add_parser(actions)

    show = add_action(actions, "show", "print a recipe's file", "lilift recipe show tiny-cpu > my.yaml")
    add_recipe_arguments(show)
    show.add_argument("--resolved", action="store_true", help="print all settings, with defaults and overrides")
    show.set_defaults(run=run_show)

    validate = add_action(actions, "validate", "check a recipe without running it", "lilift recipe validate my.yaml")
    add_recipe_arguments(validate)
    validate.set_defaults(run=run_validate)

    plan = add_action(
        actions, "plan", "predict memory by phase, before any download", "lilift recipe plan llama-7b-24gb --card 16gb"
    )
    add_recipe_arguments(plan)
    plan.add_argument("--card", metavar="CARD", help="another card: 24gb, rtx4090 …; auto takes this machine's")
    plan.add_argument("--instant", action="store_true", help="predict at once, from fitted lines; shipped recipes only")
    plan.add_argument("--strict", action="store_true", help="do not change the recipe to make it fit")
    plan.add_argument(
        "--explain", action="store_true", help="also say where the memory goes, and which settings would free most of it"
    )
    plan.add_argument(*PROCESSES, type=int, metavar="N", help="also plan for N processes: one for each GPU, or on a CPU")
    plan.add_argument("--json", action="store_true", help="print JSON")
    plan.set_defaults(run=run_plan)

    run = add_action(
        actions,
        "run",
        "run the phases of a recipe: data, align, transfer, control, evaluate, export",
        "lilift recipe run tiny-cpu\n"
        "  lilift recipe run tiny-cpu --resume\n"
        "  lilift recipe run tiny-cpu --processes 2\n"
        "  lilift recipe run my.yaml --set align.epochs=2 --run-folder runs/two",
    )
    add_recipe_arguments(run)
    run.add_argument("--run-folder", type=Path, metavar="DIR", help="folder of the run (default: runs/NAME)")
    run.add_argument("--resume", action="store_true", help="continue the run in the run folder, or start a new one")
    run.add_argument(
        "--restart-from",
        choices=PHASES,
        metavar="PHASE",
        help=f"repeat this phase and the phases after it: {', '.join(PHASES)}",
    )
    run.add_argument(
        *PROCESSES,
        type=int,
        metavar="N",
        help="train and evaluate with N processes of this machine: one for each GPU, or on a CPU (see docs/several-gpus.md)",
    )
    run.add_argument("--until", choices=PHASES, metavar="PHASE", help="stop after this phase")
    run.add_argument("--memory-limit", metavar="CARD", help="use at most the memory of this card: 24gb, rtx4090, 20gb …")
    run.add_argument("--strict", action="store_true", help="do not change the recipe to make it fit; stop if it does not fit")
    run.add_argument("--json", action="store_true", help="print the results as JSON at the end")
    run.set_defaults(run=run_run)


def add_action(actions: Any, name: str, description: str, example: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = actions.add_parser(
        name,
        help=description,
        description=description[0].upper() + description[1:] + ".",
        epilog=f"{'examples' if len(example.splitlines()) > 1 else 'example'}:\n  {example}",
        formatter_class=HelpFormatter,
    )
    return made


def add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a shipped recipe's name, or a .yaml file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=C",
        dest="overrides",
        help="override a setting; repeat the option for several",
    )


def load(arguments: argparse.Namespace) -> Recipe:
    from lilift.recipe.load import load_recipe

    return load_recipe(arguments.recipe, arguments.overrides)


def run_list(arguments: argparse.Namespace) -> int:
    from lilift.memory.instant_plan import instant_plan, is_fitted, measured_peaks
    from lilift.recipe.load import load_recipe, shipped_recipes

    recipes = [load_recipe(name) for name in shipped_recipes()]
    peaks = {r.name: {phase.phase: phase.peak_bytes for phase in instant_plan(r).phases} for r in recipes if is_fitted(r)}
    measured = measured_peaks()
    if arguments.json:
        print_json(
            [
                {"name": r.name, "card": r.card, "languages": r.languages, "description": r.description}
                | {"predicted_mib": {phase: round(peak / 2**20, 1) for phase, peak in peaks.get(r.name, {}).items()}}
                | {"measured_mib": measured.get(r.name, {})}
                for r in recipes
            ]
        )
        return 0
    phases = ("align", "transfer", "evaluate")

    def shown(name: str, phase: str) -> str:
        predicted = peaks.get(name, {}).get(phase)
        taken = measured.get(name, {}).get(phase)
        text = f"{predicted / 2**30:.1f}" if predicted is not None else "–"
        return text if taken is None else f"{text} / {taken / 1024:.1f}"

    rows = [(r.name, r.card, r.llm.model, r.encoder.model, *(shown(r.name, phase) for phase in phases)) for r in recipes]
    columns = ("recipe", "card", "LLM", "encoder", *phases)
    print_table("shipped recipes; predicted (/ measured) peak of each phase in GiB", columns, rows, right=range(4, 7))
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    from lilift.recipe.load import dump_recipe, find_recipe

    if arguments.resolved or arguments.overrides:
        print(dump_recipe(load(arguments)), end="")
    else:
        print(find_recipe(arguments.recipe).read_text(encoding="utf-8"), end="")
    return 0


def run_validate(arguments: argparse.Namespace) -> int:
    from lilift.data.texts.monolingual import require_running_text
    from lilift.evaluate.benchmarks.benchmark_languages import check_languages_of_files

    recipe = load(arguments)
    require_running_text(recipe)
    checked = check_languages_of_files(recipe.evaluate.benchmarks, recipe.languages)
    if any(one.name == "custom" for one in checked):
        from lilift.evaluate.benchmarks.custom.custom_benchmark import custom_lines

        for line in custom_lines(checked):
            print(line)
    unfit = _unfit_models(recipe)
    for error in unfit[1:]:
        print(f"{recipe.name}: {error}")
    if unfit:
        raise unfit[0]
    print(f"{recipe.name}: valid (card {recipe.card}; languages {', '.join(recipe.languages)})")
    return 0


def _unfit_models(recipe: Recipe) -> list[LiliftError]:
    """What the phases cannot do with the recipe's models. The packages for training read the models' files."""
    if find_spec("transformers") is None:
        print("lilift has not checked the models: run `pip install 'lilift[train]'` first", file=sys.stderr)
        return []
    from lilift.phases.model_check.recipe_models import unfit_models
    from lilift.phases.run_folder import wanted_phases

    by_phase = unfit_models(recipe, wanted_phases(recipe), without_torch=True, say=partial(print, file=sys.stderr))
    return [error for errors in by_phase.values() for error in errors]


def run_plan(arguments: argparse.Namespace) -> int:
    # A mistake in the recipe is reported before anything heavy is imported.
    recipe = load(arguments)
    if arguments.processes is not None:
        require_processes(arguments.processes, instant=arguments.instant)
    if arguments.instant or find_spec("torch") is None:
        return run_instant_plan(recipe, arguments)
    say_instant_plan(recipe, arguments)
    with _without_collector():
        return _run_traced_plan(recipe, arguments)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Let Python's collector rest: it would look at every object of torch and transformers again and again.

    It takes a tenth of a plan's time and finds little, because modules stay, and fake tensors hold no memory.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _run_traced_plan(recipe: Recipe, arguments: argparse.Namespace) -> int:
    from lilift.cli.plan_output import print_explanation, print_plan
    from lilift.memory.exchange_plan import exchange_lines, exchange_plan
    from lilift.memory.planned_card import planned_card
    from lilift.phases.model_check.recipe_models import require_usable_models, unfit_models
    from lilift.phases.readiness import missing_for
    from lilift.phases.rehearsals import largest_savings, plan_recipe, require_plan_fits
    from lilift.phases.run_folder import wanted_phases

    phases = wanted_phases(recipe)
    unfit = unfit_models(recipe, phases)
    require_usable_models(unfit)
    plan = plan_recipe(recipe, card=planned_card(arguments.card or recipe.card), strict=arguments.strict)
    missing = [*missing_for(recipe, phases), *(error for errors in unfit.values() for error in errors)]
    savings = largest_savings(plan) if arguments.explain else []
    if arguments.json:
        explanation = {"largest_savings": [change.as_dict() for change in savings]} if arguments.explain else {}
        several = {} if arguments.processes is None else {"processes": exchange_plan(plan, arguments.processes)}
        print_json(plan.as_dict() | {"missing": [str(error) for error in missing]} | explanation | several)
    else:
        print_plan(plan, missing)
        fits = plan.peak_bytes <= plan.limit_bytes or plan.card.kind == "cpu"
        for line in exchange_lines(plan, arguments.processes) if arguments.processes is not None and fits else ():
            print(line)
        if arguments.explain:
            print_explanation(plan, savings)
    require_plan_fits(plan, processes=arguments.processes or 1)
    return 0


def run_run(arguments: argparse.Namespace) -> int:
    # A mistake in the recipe is reported before anything heavy is imported.
    recipe = load(arguments)
    if arguments.processes is not None and arguments.processes != 1:
        return launch_run(recipe, arguments.processes)
    started = started_by_torchrun()
    from lilift.cli.plan_output import print_plan
    from lilift.cli.run_output import print_results, results_as_dict
    from lilift.phases.run import RunOptions, run_recipe

    folder = arguments.run_folder or Path("runs") / recipe.name
    options = RunOptions(
        resume=arguments.resume,
        restart_from=arguments.restart_from,
        until=arguments.until,
        quiet=arguments.json,
        strict=arguments.strict,
        memory_limit=arguments.memory_limit,
        start_anew=partial(resume_in_new_process, arguments),
    )
    show_plan = None if arguments.json else print_plan
    if started is None:
        finished = run_recipe(recipe, folder, options, show_plan=show_plan)
    else:
        together = run_with_others(recipe, folder, options, show_plan)
        if together is None:
            return 0
        finished = together
    if arguments.json:
        print_json(results_as_dict(finished))
    else:
        print_results(finished, resume_command(arguments))
    return 0
