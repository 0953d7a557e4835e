"""`lilift recipe run` and `lilift eval` in several processes: started by torchrun, or by `--processes`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lilift.cli.command_lines import without_processes
from lilift.processes.torchrun_environment import started_by_torchrun
from lilift.recipe.errors import LiliftError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lilift.memory.plan import Plan
    from lilift.phases.run import FinishedRun, RunOptions
    from lilift.processes.joined_processes import Processes
    from lilift.recipe.schema import Recipe


def refuse_other_verbs() -> None:
    """Stop a command that torchrun started several times, although it works in one process.

    Raises:
        RecipeError: torchrun started this process beside others.
    """
    if started_by_torchrun() is not None:
        raise RecipeError(
            "torchrun can start only `recipe run` and `eval`, because every other command works in one process",
            remedy="run this command without torchrun",
        )


def launch_run(recipe: Recipe, count: int) -> int:
    """Start this command again in `count` processes, and return their exit code.

    Raises:
        RecipeError: the number is wrong, or torchrun has started this process already.
        LiliftError: see `lilift.processes.launch.launch`.
    """
    _require_possible(recipe)
    return launch_command(count, on_gpus=recipe.card != "cpu")


def launch_command(count: int, *, on_gpus: bool) -> int:
    """Start this command again in `count` processes; see `launch_run`."""
    if started_by_torchrun() is not None:
        raise RecipeError("torchrun has already started several processes", remedy="leave --processes out")
    require_processes(count)
    from lilift.processes.launch import launch

    return launch(count, without_processes(sys.argv[1:]), on_gpus=on_gpus)


def require_processes(count: int, *, instant: bool = False) -> None:
    """Refuse a number of processes that cannot be meant.

    Args:
        count: the value of `--processes`.
        instant: whether it stands beside `--instant`, whose lines know nothing of processes.

    Raises:
        RecipeError: it is less than one, or stands beside `--instant`.
    """
    if count < 1:
        raise RecipeError(f"a run needs at least one process, not {count}", where="--processes")
    if instant:
        raise RecipeError("--instant plans one process, and --processes needs the whole plan", remedy="leave out one of them")


@contextmanager
def joined_by_torchrun(device: Callable[[], str], compared: str, options: Mapping[str, object]) -> Iterator[Processes | None]:
    """Join the other processes if torchrun started this one beside others. One process prints an error of what they do then.

    Args:
        device: what the command computes on: ``cuda`` or ``cpu``.
        compared: must be the same in all processes; like a recipe.
        options: the same for the options of the command.

    Yields:
        The processes; None if this one is alone.

    Raises:
        LiliftError: see `joined` and `require_same_start`.
    """
    started = started_by_torchrun()
    if started is None:
        yield None
        return
    from lilift.processes.joining import joined
    from lilift.processes.start_checks import require_same_start
    from lilift.processes.stuck_exit import Starter, leave_when_stuck

    leave_when_stuck(speaks=started.rank == 0)
    starter = Starter(speaks=started.local_rank == 0)
    starter.watch()
    with joined(started, device=device(), starter=starter) as processes:
        try:
            require_same_start(processes, compared, options)
            yield processes
        except LiliftError as error:
            raise processes.last_words(error) from error.__cause__


def run_with_others(
    recipe: Recipe,
    folder: Path,
    options: RunOptions,
    show_plan: Callable[[Plan], None] | None,
) -> FinishedRun | None:
    """Run a recipe together with the other processes that torchrun started.

    Returns:
        What the run reached, in the first process.

    Raises:
        LiliftError: see `run_recipe`. One process has printed it.
    """
    from dataclasses import replace

    from lilift.phases.run import follow_run, run_recipe
    from lilift.recipe.load import fingerprint

    compared = {
        "resume": options.resume,
        "restart-from": options.restart_from,
        "until": options.until,
        "run-folder": str(folder),
    }
    _require_possible(recipe)
    device = "cpu" if recipe.card == "cpu" else "cuda"
    with joined_by_torchrun(lambda: device, fingerprint(recipe.as_dict()), compared) as processes:
        assert processes is not None
        options = replace(options, processes=processes)
        if processes.is_first:
            return run_recipe(recipe, folder, options, show_plan=show_plan)
        follow_run(recipe, folder, options)
    return None


def _require_possible(recipe: Recipe) -> None:
    if recipe.llm.backend == "unsloth":
        raise RecipeError(
            "unsloth trains in one process", where="llm.backend", remedy="set llm.backend=transformers, or use one process"
        )
