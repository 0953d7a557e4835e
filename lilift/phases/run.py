"""Runs a recipe: data → align → transfer → control → evaluate → export, each phase once.

lilift skips a phase that is already done with the same settings, so a repeated command continues where the last one stopped.
lilift writes `report.html` again after every phase.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lilift.evaluate.claimed_answers import changed_since
from lilift.evaluate.evaluator import SCORES, read_scores
from lilift.evaluate.scores.scores import SystemScores
from lilift.memory import calibration
from lilift.memory.changes import with_recorded_changes
from lilift.memory.device import Device, cap_memory, device_for
from lilift.memory.guard import free_memory
from lilift.memory.plan import Plan
from lilift.memory.planned_card import limited_card, planned_card
from lilift.memory.probe import MemoryProbe
from lilift.model.llms import unsloth_backend
from lilift.phases.environment import describe_environment
from lilift.phases.model_check.recipe_models import absent_models, require_usable_models, unfit_models
from lilift.phases.phase_work import Job, title_of, work_on
from lilift.phases.readiness import missing_for
from lilift.phases.rehearsals import plan_recipe, require_plan_fits
from lilift.phases.report import write_report
from lilift.phases.run_folder import PHASES, Phase, RunFolder, wanted_phases
from lilift.processes.joined_processes import ALONE, Processes
from lilift.processes.start_checks import require_shared_folder
from lilift.recipe import sealed_records, storage
from lilift.recipe.errors import EnvironmentUnfit, LiliftError, RecipeError
from lilift.recipe.interrupt import polite_interrupts
from lilift.recipe.schema import Recipe
from lilift.train.processor_threads import ENVIRONMENT, use_threads
from lilift.train.training_progress import NoProgress, Silence, StageProgress, progress_for

PLAN = "plan.json"
# These phases load an LLM through transformers, without the changes that unsloth makes to it.
AFTER_TRAINING: tuple[Phase, ...] = ("evaluate", "export")
# All processes work on these phases; the first one alone does the others.
TOGETHER: tuple[Phase, ...] = ("align", "transfer", "control", "evaluate")


@dataclass(frozen=True)
class RunOptions:
    """How lilift runs a recipe.

    Attributes:
        resume: continue the run in the run folder.
        restart_from: run this phase and those after it again.
        until: stop after this phase.
        quiet: show no progress.
        strict: do not change the recipe to make it fit.
        memory_limit: a smaller card whose memory is the limit; see `limited_card`.
        start_anew: resumes the run in a new process; called after a stage that unsloth has trained.
        processes: those that run the recipe together. The first one leads; the others only train and answer.
    """

    resume: bool = False
    restart_from: Phase | None = None
    until: Phase | None = None
    quiet: bool = False
    strict: bool = False
    memory_limit: str | None = None
    start_anew: Callable[[], None] | None = None
    processes: Processes = ALONE


@dataclass(frozen=True)
class FinishedRun:
    """The results of a run."""

    path: Path
    recipe: Recipe
    scores: list[SystemScores]
    measured: dict[str, Any]


def run_recipe(
    recipe: Recipe,
    path: Path,
    options: RunOptions,
    *,
    show_plan: Callable[[Plan], None] | None = None,
) -> FinishedRun:
    """Run every phase that is not done yet.

    Args:
        recipe: the recipe to run.
        path: the run folder.
        options: how to run it.
        show_plan: receives the plan before the first phase.

    Raises:
        LiliftError: see `lilift.recipe.errors`. The finished part of the run is kept.
    """
    processes = options.processes
    if not processes.is_first:
        raise ValueError("only the first process leads a run; the others call `follow_run`")
    device = device_for(recipe.card)
    unfit = unfit_models(recipe, _phases_until(options.until, recipe))
    require_usable_models(unfit)
    progress = NoProgress() if options.quiet else progress_for(sys.stdout)
    is_new = not path.exists()
    if is_new:  # before the plan, which takes up to a minute
        _require_files(recipe, _phases_until(options.until, recipe), unfit, progress)
    plan = _plan_for(recipe, path, options, device)
    recipe = plan.recipe
    if is_new and options.until is None:
        storage.require_room(path, plan.footprint.run_bytes, "this run", option="--run-folder")
    with RunFolder.opened(path, recipe, resume=options.resume, restart_from=options.restart_from) as folder:
        phases = _phases_until(options.until, recipe)
        to_do = [phase for phase in phases if not folder.is_done(phase)]
        if not is_new:
            _require_files(recipe, to_do, unfit, progress)
        if show_plan is not None:
            show_plan(plan)
        for phase in phases:
            if folder.is_done(phase):
                folder.check_finished(phase)
        sealed_records.write_record(folder / PLAN, plan.as_dict())
        use_threads(recipe, folder.path, processes.started.local_size)
        together = {} if processes.alone else {"processes": processes.size}
        storage.write_json(folder / ENVIRONMENT, describe_environment() | together)
        job = Job(recipe, plan, folder, device, progress, options.quiet, processes)
        if not processes.alone:
            processes.say(recipe.as_dict())
            require_shared_folder(processes, folder.path)
            job.say(f"{processes.size} processes train and evaluate together; the first one does everything else")
            _release_others(job, to_do)
        with polite_interrupts() as interruption:
            for phase in phases:
                if interruption.requested:
                    raise interruption.stop(f"stopped before the phase {phase}")
                _run_or_skip(phase, job, options)
                _release_others(job, [later for later in to_do if phases.index(later) > phases.index(phase)])
        write_report(folder.path)
        return FinishedRun(path, recipe, read_scores(folder / "evaluate" / SCORES), folder.measured())


def follow_run(recipe: Recipe, path: Path, options: RunOptions) -> None:
    """Train and answer with the first process until nothing of that is left. It calls `run_recipe` meanwhile.

    Args:
        recipe: the recipe of the run.
        path: the run folder, on a disk that all processes share.
        options: those of the first process.

    Raises:
        LiliftError: see `run_recipe`.
    """
    processes, device = options.processes, device_for(recipe.card)
    if options.memory_limit is not None and device.kind == "cuda":
        cap_memory(limited_card(options.memory_limit).allocatable_bytes, device)
    with polite_interrupts() as interruption:
        recipe = Recipe.model_validate(processes.hear(interruption))  # with the plan's changes
        require_shared_folder(processes, path)
        use_threads(recipe, path, processes.started.local_size)
        folder = RunFolder(path, recipe)
        job = Job(recipe, None, folder, device, Silence(), True, processes)
        while (phase := processes.hear(interruption)) is not None:
            with polite_interrupts():
                work_on(phase, job, folder.phase_folder(phase))
            free_memory()


def _run_or_skip(phase: Phase, job: Job, options: RunOptions) -> None:
    """Run a phase and write the report, if the phase is not done yet."""
    folder, recipe = job.folder, job.recipe
    if folder.is_done(phase):
        job.say(f"{phase}: already done")
        for changed in changed_since(folder / phase, recipe.evaluate.benchmarks) if phase == "evaluate" else ():
            job.say(f"  {changed} has changed since; --restart-from evaluate answers its questions again")
        return
    if phase in AFTER_TRAINING and unsloth_backend.in_this_process():
        _start_anew(options)
    job.say(f"{phase}: {title_of(phase, recipe)}")
    try:
        _run_phase(phase, job)
    finally:  # a phase that fails at its end has still written results
        _write_report_so_far(job)


def _release_others(job: Job, to_do: Sequence[Phase]) -> None:
    """Let the other processes end once nothing is left that all work on."""
    processes = job.processes
    if not processes.alone and not processes.released and not set(to_do) & set(TOGETHER):
        processes.say(None)
        processes.released = True


def _require_files(
    recipe: Recipe, to_do: Sequence[Phase], unfit: Mapping[Phase, Sequence[LiliftError]], progress: StageProgress
) -> None:
    """Name everything that these phases need and that is missing.

    Raises:
        LiliftError: the first missing thing. `progress` gets a line about each other one.
    """
    missing = [*absent_models(recipe, to_do), *missing_for(recipe, to_do)]
    missing += [error for phase in to_do for error in unfit.get(phase, ())]
    for error in missing[1:]:
        progress.note(f"missing: {error}")
    if missing:
        raise missing[0]


def _plan_for(recipe: Recipe, path: Path, options: RunOptions, device: Device) -> Plan:
    """The plan for this machine's card. A resumed run keeps the changes that made the recipe fit when the run began."""
    card = None
    if device.kind == "cuda":
        card = planned_card("auto") if options.memory_limit is None else limited_card(options.memory_limit)
    elif options.memory_limit is not None:
        raise RecipeError("--memory-limit has no effect on a recipe that runs on the CPU", remedy="leave it out")
    if card is not None and options.memory_limit is not None:
        cap_memory(card.allocatable_bytes, device)
    earlier = path / PLAN
    if options.resume and options.restart_from is None and earlier.exists():
        remedy = "restore it from a copy, or delete it and run the command again; lilift plans the run again"
        changed = with_recorded_changes(recipe, sealed_records.read_record(earlier, remedy=remedy)["changes"])
        return plan_recipe(changed, card=card, strict=True)
    plan = plan_recipe(recipe, card=card, strict=options.strict)
    require_plan_fits(plan, processes=options.processes.size)
    return plan


def _phases_until(last: Phase | None, recipe: Recipe) -> tuple[Phase, ...]:
    wanted = wanted_phases(recipe)
    return wanted if last is None else tuple(phase for phase in wanted if PHASES.index(phase) <= PHASES.index(last))


def _start_anew(options: RunOptions) -> None:
    """Resume in a new process, because later phases need transformers without unsloth's changes.

    Raises:
        EnvironmentUnfit: `start_anew` is not set or returned.
    """
    if options.start_anew is not None:
        options.start_anew()
    raise EnvironmentUnfit(
        "unsloth has changed transformers in this process", remedy="resume the run in a new process, with --resume"
    )


def _run_phase(phase: Phase, job: Job) -> None:
    where = job.folder.begin(phase)
    if phase in TOGETHER and not job.processes.alone:
        job.processes.say(phase)
    started = time.monotonic()
    free_memory()  # the models of the phase before
    # Long phases handle signals themselves and save. A short phase is finished first.
    with polite_interrupts():
        with MemoryProbe(job.device.kind) as probe:
            work_on(phase, job, where)
        measured = {"seconds": round(time.monotonic() - started, 1), "peak_mib": probe.peak_mib}
        predicted = job.predicted_mib(phase)
        if predicted is not None:
            measured["predicted_mib"] = predicted
            simulated = job.simulated_mib(phase)
            if job.device.kind == "cuda" and phase != "export" and simulated is not None:
                calibration.record(job.device.name, phase, predicted_mib=simulated, measured_mib=probe.peak_mib)
        job.folder.finish(phase, measured)


def _write_report_so_far(job: Job) -> None:
    """Write the report, and only note a failure: it must not end a run that has hours of work left.

    At the end of a run, a failure is an error like any other.
    """
    try:
        write_report(job.folder.path)
    except Exception as failure:
        job.progress.note(f"  lilift could not write the report after this phase ({type(failure).__name__}: {failure})")
