"""Run a recipe: data → align → transfer → control → evaluate → export, each phase once.

A phase that is already done with the same settings is skipped, so that after an interruption the same call goes on where the
last one stopped. `report.html` is written anew after every phase.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lilift.data.prepare import load_prepared, prepare
from lilift.data.stage_rows import AlignRows, TransferRows, align_rows, transfer_rows
from lilift.data.token_cache import token_cache
from lilift.data.world import WORLD_LANGUAGES
from lilift.evaluate.evaluator import SCORES, evaluate, load_benchmarks, read_scores
from lilift.evaluate.retrieval import ALIGNMENT_QUALITY
from lilift.evaluate.scores import SystemScores
from lilift.export.base import record_base
from lilift.export.bundle import export_bundle
from lilift.export.job import RunParts
from lilift.memory import calibration
from lilift.memory.card import Device, cap_memory, device_for
from lilift.memory.cards import MIB, limited_card, planned_card
from lilift.memory.changes import with_recorded_changes
from lilift.memory.plan import Plan
from lilift.memory.probe import MemoryProbe
from lilift.model import unsloth
from lilift.model.bridge import attach_lora, load_bridge
from lilift.model.snapshot import local_model_folder
from lilift.phases.alignment_quality import measure_alignment
from lilift.phases.drift import drift_of_export
from lilift.phases.encoding import STATES, StageRows, forget_states, read_questions, read_stage
from lilift.phases.environment import describe_environment
from lilift.phases.folder import Phase, RunFolder, wanted_phases
from lilift.phases.held_out import held_out_questions
from lilift.phases.planning import plan_recipe, require_plan_fits
from lilift.phases.progress import answer_progress
from lilift.phases.readiness import missing_for
from lilift.phases.report import write_report
from lilift.phases.systems import (
    answers_depend_on,
    evaluated_systems,
    load_system,
    responder_for,
    tokenisation_for,
)
from lilift.recipe import storage
from lilift.recipe.errors import EnvironmentUnfit, LiliftError, RecipeError
from lilift.recipe.interrupt import polite_interrupts
from lilift.recipe.schema import Recipe, StageName, StageSettings
from lilift.train.progress import NoProgress, StageProgress, progress_for
from lilift.train.stages import RunStage, run_stage

PLAN = "plan.json"
# They load an LLM through transformers, as it is before unsloth has changed it.
AFTER_TRAINING: tuple[Phase, ...] = ("evaluate", "export")


@dataclass(frozen=True)
class RunOptions:
    """How a recipe is run.

    Attributes:
        resume: go on with what the run folder holds.
        restart_from: redo this phase and what follows.
        until: stop after this phase.
        quiet: show no progress.
        strict: change nothing to make the recipe fit.
        memory_limit: a smaller card that the GPU is to play; see `limited_card`.
        start_anew: goes on with the run in a new process; asked for after a stage that unsloth has trained.
    """

    resume: bool = False
    restart_from: Phase | None = None
    until: Phase | None = None
    quiet: bool = False
    strict: bool = False
    memory_limit: str | None = None
    start_anew: Callable[[], None] | None = None


@dataclass(frozen=True)
class FinishedRun:
    """What a run came to."""

    path: Path
    recipe: Recipe
    scores: list[SystemScores]
    measured: dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What a phase needs to know."""

    recipe: Recipe
    plan: Plan
    folder: RunFolder
    device: Device
    progress: StageProgress
    quiet: bool

    def predicted_mib(self, phase: Phase) -> float | None:
        """What the plan says of a phase; on a GPU, without what other programs and the context take of the card."""
        for planned in self.plan.phases:
            if planned.phase == ("transfer" if phase == "control" else phase):
                unseen = planned.parts["context"] if self.device.kind == "cuda" and phase != "export" else 0
                return round((planned.peak_bytes - unseen) / MIB, 1)
        return None

    def say(self, line: str) -> None:
        """A line for people who watch."""
        if not self.quiet:
            print(line, flush=True)


def run_recipe(
    recipe: Recipe,
    path: Path,
    options: RunOptions,
    *,
    show_plan: Callable[[Plan, Sequence[LiliftError]], None] | None = None,
) -> FinishedRun:
    """Run every phase that is not done yet.

    Args:
        recipe: what to do.
        path: the run folder.
        options: how to do it.
        show_plan: is given the plan before anything heavy begins, and what is missing beside the first thing, which is raised.

    Raises:
        LiliftError: see `lilift.recipe.errors`; what is done so far is kept.
    """
    device = device_for(recipe.card)
    plan = _plan_for(recipe, path, options, device)
    recipe = plan.recipe
    with RunFolder.opened(path, recipe, resume=options.resume, restart_from=options.restart_from) as folder:
        phases = _phases_until(options.until, recipe)
        missing = missing_for(recipe, [phase for phase in phases if not folder.is_done(phase)])
        if show_plan is not None:
            show_plan(plan, missing[1:])
        if missing:
            raise missing[0]
        storage.write_json(folder / PLAN, plan.as_dict())
        storage.write_json(folder / "environment.json", describe_environment())
        progress = NoProgress() if options.quiet else progress_for(sys.stdout)
        job = Job(recipe, plan, folder, device, progress, options.quiet)
        for phase in phases:
            if folder.is_done(phase):
                job.say(f"{phase}: already done")
            else:
                if phase in AFTER_TRAINING and unsloth.in_this_process():
                    _start_anew(options)
                job.say(f"{phase}: {_title(phase, recipe)}")
                _run_phase(phase, job)
                _write_report_so_far(job)
        write_report(folder.path)
        return FinishedRun(path, recipe, read_scores(folder / "evaluate" / SCORES), folder.measured())


def _plan_for(recipe: Recipe, path: Path, options: RunOptions, device: Device) -> Plan:
    """The plan for the card that is here. A run that goes on keeps what was changed for it when it began."""
    card = None
    if device.kind == "cuda":
        card = planned_card("auto") if options.memory_limit is None else limited_card(options.memory_limit)
    elif options.memory_limit is not None:
        raise RecipeError("--memory-limit is for recipes that run on a GPU", remedy="leave it out")
    if card is not None and options.memory_limit is not None:
        cap_memory(card.allocatable_bytes, device)
    earlier = path / PLAN
    if options.resume and options.restart_from is None and earlier.exists():
        changed = with_recorded_changes(recipe, storage.read_json(earlier)["changes"])
        return plan_recipe(changed, card=card, strict=True)
    plan = plan_recipe(recipe, card=card, strict=options.strict)
    require_plan_fits(plan)
    return plan


def _phases_until(last: Phase | None, recipe: Recipe) -> tuple[Phase, ...]:
    wanted = wanted_phases(recipe)
    return wanted[: wanted.index(last) + 1] if last in wanted else wanted


def _start_anew(options: RunOptions) -> None:
    """What comes after a stage trained by unsloth needs transformers as it is."""
    if options.start_anew is not None:
        options.start_anew()
    raise EnvironmentUnfit(
        "unsloth has trained in this process, and has changed transformers for it", remedy="resume the run in a new process"
    )


def _run_phase(phase: Phase, job: Job) -> None:
    where = job.folder.begin(phase)
    started = time.monotonic()
    # Long phases look at signals themselves and save; a short one is finished first.
    with polite_interrupts():
        with MemoryProbe(job.device.kind) as probe:
            _PHASES[phase](job, where)
        measured = {"seconds": round(time.monotonic() - started, 1), "peak_mib": probe.peak_mib}
        predicted = job.predicted_mib(phase)
        if predicted is not None:
            measured["predicted_mib"] = predicted
            if job.device.kind == "cuda" and phase != "export":
                calibration.record(job.device.name, phase, predicted_mib=predicted, measured_mib=probe.peak_mib)
        job.folder.finish(phase, measured)


def _write_report_so_far(job: Job) -> None:
    """A report that cannot be drawn must not end a run that has hours before it; at the end it is an error like any other."""
    try:
        write_report(job.folder.path)
    except Exception as failure:
        job.progress.note(f"  the report so far could not be written ({type(failure).__name__}: {failure})")


def _data(job: Job, where: Path) -> None:
    report = prepare(job.recipe, where, held_out_questions(job.recipe))
    for line in report.lines():
        job.say(f"  {line}")


def _align(job: Job, where: Path) -> None:
    _train(job, where, "align", align_rows)


def _transfer(job: Job, where: Path) -> None:
    record_base(local_model_folder(job.recipe.llm.model, job.recipe.llm.revision), where)
    _train(job, where, "transfer", transfer_rows, after="align" if "align" in job.recipe.stages else None)


def _control(job: Job, where: Path) -> None:
    """Stage 2 exactly as it is, but on the alignment layer as it was before stage 1."""
    _train(job, where, "control", transfer_rows)


def _train(job: Job, where: Path, name: RunStage, rows_of: StageRows, *, after: StageName | None = None) -> None:
    """A training stage, from what the stage `after` which it comes has trained."""
    recipe, device = job.recipe, job.device.torch_device
    settings: StageSettings = recipe.align if name == "align" else recipe.transfer
    prepared = load_prepared(job.folder / "data")
    with token_cache(where) as cache:
        read_stage(recipe, settings, prepared, rows_of, where, cache=cache, device=device, note=job.say)
        bridge = load_bridge(recipe, device=device, states_folder=where / STATES, to_train=True)
        if after is not None:
            part = getattr(recipe, after).trains
            if part == "adapter":
                attach_lora(bridge, recipe.transfer.lora)
            bridge.load_part(part, job.folder / after / part)
        rows = rows_of(prepared, recipe, tokenisation_for(bridge, recipe, cache))
        _count_rows(job, where, rows)
        predicted = job.predicted_mib(name)
        run_stage(bridge, rows, recipe, where, name=name, progress=job.progress, predicted_mib=predicted)
    forget_states(where)


def _count_rows(job: Job, where: Path, rows: AlignRows | TransferRows) -> None:
    """Tell and keep what the length limits do to the first epoch's rows, before any of them is trained on."""
    kept = where / "rows.json"
    if kept.exists():
        return
    lengths = rows.lengths()
    cut = lengths.truncated_source + lengths.truncated_response
    job.say(
        f"  {lengths.kept:,} of {lengths.read:,} rows fit; {lengths.dropped_source + lengths.dropped_sequence:,} too long and "
        f"dropped, {cut:,} cut; longest source {lengths.longest_source} tokens, longest sequence {lengths.longest_sequence}"
    )
    unreadable = rows.unreadable()
    for script, share in unreadable.items():
        job.say(f"  the encoder cannot spell {share:.1%} of the tokens in {script} script: it reads <unk> there")
    flattened = rows.flattened()
    if flattened:
        job.say(f"  {flattened:,} texts have line breaks, which the encoder's tokenizer reads as spaces")
    storage.write_json(kept, lengths.as_dict() | {"unreadable": unreadable, "flattened": flattened})


def _evaluate(job: Job, where: Path) -> None:
    if job.recipe.evaluate.alignment is not None:
        _measure_alignment(job, where, job.recipe.evaluate.alignment)
    benchmarks = load_benchmarks(job.recipe.evaluate.benchmarks, job.recipe.languages, seed=job.recipe.seed)
    device = job.device.torch_device
    questions = ([question.text for question in benchmark.questions] for benchmark in benchmarks)
    read_questions(job.recipe, questions, where, device=device, note=job.say)
    for system in evaluated_systems(job.recipe):
        bridge = load_system(job.recipe, job.folder.path, system, device=device, states_folder=where / STATES)
        responder = responder_for(bridge, job.recipe, job.recipe.evaluate)
        shown = nullcontext(None) if job.quiet else answer_progress(sys.stdout)
        with polite_interrupts() as interruption, shown as progress:
            evaluate(
                responder,
                benchmarks,
                where,
                system=system,
                inputs=answers_depend_on(job.recipe, job.folder.path, system),
                progress=progress,
                interruption=interruption,
            )
    forget_states(where)


def _measure_alignment(job: Job, where: Path, source: str) -> None:
    languages = job.recipe.languages
    if source == "world":  # which knows a few languages; a recipe may have been given others
        languages = tuple(code for code in languages if code in WORLD_LANGUAGES)
    if not languages:
        job.say("  alignment is not measured: the generated problems are in none of the languages")
        return
    found = measure_alignment(
        job.recipe,
        job.folder.path,
        source,
        languages=languages,
        limit=None,
        device=job.device.torch_device,
    )
    storage.write_json(where / ALIGNMENT_QUALITY, found.as_dict())
    job.say(
        f"  sentences whose nearest neighbour is their translation: {found.before:.0%} before stage 1, {found.after:.0%} after "
        f"(chance {1 / found.sentences:.1%})"
    )


def _export(job: Job, where: Path) -> None:
    recipe, settings = job.recipe, job.recipe.export
    report = export_bundle(recipe, settings, RunParts.of(job.folder.path), where)
    for line in report.lines():
        job.say(f"  {line}")
    if settings.drift:
        device = job.device.torch_device
        what, found = drift_of_export(recipe, settings, job.folder.path, where, device=device, note=job.say)
        storage.write_json(where / "drift.json", {"measured on": what, "drift": [drift.as_dict() for drift in found]})
        for line in (f"measured on {what}:", *(drift.line() for drift in found)) if found else ():
            job.say(f"  {line}")


_PHASES: dict[Phase, Callable[[Job, Path], None]] = {
    "data": _data,
    "align": _align,
    "transfer": _transfer,
    "control": _control,
    "evaluate": _evaluate,
    "export": _export,
}
_TITLES: dict[Phase, str] = {
    "data": "reading instructions and lexicons",
    "align": "stage 1, {align} learns",
    "transfer": "stage 2, {transfer} learns",
    "control": "stage 2 once more on an unaligned layer, to show what stage 1 brings",
    "evaluate": "asking the benchmarks' questions",
    "export": "merging the adapter into the LLM's weights, and writing them down",
}


def _title(phase: Phase, recipe: Recipe) -> str:
    names = {"alignment": "the alignment layer", "adapter": "the LLM's adapter"}
    return _TITLES[phase].format(align=names[recipe.align.trains], transfer=names[recipe.transfer.trains])
