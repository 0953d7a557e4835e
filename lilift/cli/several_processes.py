"""`lilift recipe run` in several processes: started by torchrun, or by `--processes`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lilift.processes.torchrun_environment import Started, started_by_torchrun
from lilift.recipe.errors import LiliftError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from lilift.memory.plan import Plan
    from lilift.phases.run import FinishedRun, RunOptions
    from lilift.recipe.schema import Recipe


def refuse_other_verbs() -> None:
    """Stop a command that torchrun started several times, although it works in one process.

    Raises:
        RecipeError: torchrun started this process beside others.
    """
    started = started_by_torchrun()
    if started is not None:
        raise _by_first(
            RecipeError(
                "torchrun can start only `recipe run`, because every other command works in one process",
                remedy="run this command without torchrun",
            ),
            started,
        )


def launch_run(recipe: Recipe, count: int) -> int:
    """Start this command again in `count` processes, and return their exit code.

    Raises:
        RecipeError: the number is wrong, or torchrun has started this process already.
        LiliftError: see `lilift.processes.launch.launch`.
    """
    from lilift.processes.launch import launch, without_processes

    if started_by_torchrun() is not None:
        raise RecipeError("torchrun has already started several processes", remedy="leave --processes out")
    if count < 1:
        raise RecipeError(f"a run needs at least one process, not {count}", where="--processes")
    _require_possible(recipe)
    return launch(count, without_processes(sys.argv[1:]), on_gpus=recipe.card != "cpu")


def run_with_others(
    started: Started,
    recipe: Recipe,
    folder: Path,
    options: RunOptions,
    show_plan: Callable[[Plan, Sequence[LiliftError]], None] | None,
) -> FinishedRun | None:
    """Run a recipe together with the other processes that torchrun started.

    Returns:
        What the run reached, in the first process.

    Raises:
        LiliftError: see `run_recipe`. One process has printed it.
    """
    from dataclasses import replace

    from lilift.phases.run import follow_run, run_recipe
    from lilift.processes.joining import joined
    from lilift.processes.start_checks import require_same_start
    from lilift.processes.stuck_exit import leave_when_stuck
    from lilift.recipe.load import fingerprint

    leave_when_stuck()
    compared = {
        "resume": options.resume,
        "restart-from": options.restart_from,
        "until": options.until,
        "run-folder": str(folder),
    }
    try:
        _require_possible(recipe)
        with joined(started, device="cpu" if recipe.card == "cpu" else "cuda") as processes:
            try:
                require_same_start(processes, fingerprint(recipe.as_dict()), compared)
                options = replace(options, processes=processes)
                if processes.is_first:
                    return run_recipe(recipe, folder, options, show_plan=show_plan)
                follow_run(recipe, folder, options)
            except LiliftError as error:
                raise processes.last_words(error) from error.__cause__
    except LiliftError as error:
        raise _by_first(error, started) from error.__cause__
    return None


def _require_possible(recipe: Recipe) -> None:
    if recipe.llm.backend == "unsloth":
        raise RecipeError(
            "unsloth trains in one process", where="llm.backend", remedy="set llm.backend=transformers, or use one process"
        )


def _by_first(error: LiliftError, started: Started) -> LiliftError:
    """An error that every process of a machine has, printed by one of them."""
    error.printed = error.printed or started.local_rank != 0
    return error
