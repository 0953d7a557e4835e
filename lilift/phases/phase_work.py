"""Does the work of each phase in its folder: prepare data, train a stage, evaluate, export."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lilift.data.batches.token_cache import forget_caches, token_cache
from lilift.data.prepare import prepare
from lilift.data.prepared_data import load_prepared
from lilift.data.stage_rows import align_rows, transfer_rows
from lilift.data.texts.kept_template import keep_template
from lilift.evaluate.benchmarks.benchmark import Benchmark
from lilift.evaluate.benchmarks.custom.custom_benchmark import custom_lines
from lilift.evaluate.dealt.answer_exchange import answer_share
from lilift.evaluate.evaluator import evaluate
from lilift.evaluate.responders import Responder
from lilift.evaluate.watched_questions import evaluated_benchmarks, watched_benchmarks
from lilift.export.base_check import record_base
from lilift.export.bundle import export_bundle
from lilift.export.job import RunParts
from lilift.memory.device import Device
from lilift.memory.model_configurations import layer_count
from lilift.memory.plan import Plan
from lilift.memory.planned_card import MIB
from lilift.model.assemble_bridge import attach_lora, load_bridge
from lilift.model.bridge_files import load_part
from lilift.model.encoders.run_encoder import states_folder, with_encoder_of_run
from lilift.model.layer_swap import swap_layers, zones_in_words
from lilift.model.snapshot import local_model_folder
from lilift.phases.adapt_encoder.adapt_phase import adapt
from lilift.phases.alignment_quality import record_alignment
from lilift.phases.answer_progress import answer_progress
from lilift.phases.answering.pivot_responder import Translations
from lilift.phases.answering.question_translations import asked_texts, in_recipes_language, translate_together
from lilift.phases.answering.systems import (
    answers_depend_on,
    evaluated_systems,
    load_system,
    responder_for,
    tokenisation_for,
)
from lilift.phases.answering.watched_answers import watch_plan
from lilift.phases.data_tokenizers import examine_with_tokenizers, rendered_template
from lilift.phases.encode_to_disk import STATES, StageRows, forget_states, read_questions, read_stage
from lilift.phases.export_check import DRIFT_FILE, drift_of_export
from lilift.phases.held_out import held_out_questions
from lilift.phases.long_rows import ROWS, count_rows
from lilift.phases.report.card_scores import card_scores
from lilift.phases.run_folder import Phase, RunFolder
from lilift.processes.joined_processes import ALONE, Processes
from lilift.recipe import sealed_records
from lilift.recipe.interrupt import polite_interrupts
from lilift.recipe.schema import LayerSwapSettings, Recipe, StageName, StageSettings
from lilift.train.stages import RunStage, part_of, run_stage, section_of, stage_fingerprint
from lilift.train.training_progress import StageProgress


@dataclass(frozen=True)
class Job:
    """What a phase needs to do its work."""

    recipe: Recipe
    plan: Plan | None  # only the first of several processes plans
    folder: RunFolder
    device: Device
    progress: StageProgress
    quiet: bool
    processes: Processes = ALONE

    def predicted_mib(self, phase: Phase) -> float | None:
        """Predicted peak of a phase in MiB. On a GPU it leaves out the memory of the CUDA context and of other programs."""
        if self.plan is None:
            return None
        for planned in self.plan.phases:
            if planned.phase == ("transfer" if phase == "control" else phase):
                unseen = planned.parts["context"] if self.device.kind == "cuda" and phase != "export" else 0
                peak = self.plan.evaluation_bytes if phase == "evaluate" else planned.peak_bytes
                return round((peak - unseen) / MIB, 1)
        return None

    def simulated_mib(self, phase: Phase) -> float | None:
        """`predicted_mib` without the share that lilift adds from earlier runs of GPUs."""
        predicted = self.predicted_mib(phase)
        phases = self.plan.phases if self.plan is not None else ()
        planned = next((one for one in phases if one.phase == ("transfer" if phase == "control" else phase)), None)
        return None if predicted is None or planned is None else round(predicted - planned.raised_bytes / MIB, 1)

    def say(self, line: str) -> None:
        """Print a line for the user, unless the run is quiet."""
        if not self.quiet:
            print(line, flush=True)


def _data(job: Job, where: Path) -> None:
    recipe = job.recipe
    keep_template(rendered_template(recipe), where)
    report = prepare(recipe, where, held_out_questions(recipe), partial(examine_with_tokenizers, recipe, where.parent))
    for line in report.lines():
        job.say(f"  {line}")


def _adapt(job: Job, where: Path) -> None:
    predicted, device = job.predicted_mib("adapt"), job.device.torch_device
    shown: dict[str, Any] = {"progress": job.progress, "predicted_mib": predicted, "say": job.say}
    adapt(job.recipe, load_prepared(job.folder / "data"), where, device=device, **shown)


def _align(job: Job, where: Path) -> None:
    _train(job, where, "align", align_rows)


def _transfer(job: Job, where: Path) -> None:
    record_base(local_model_folder(job.recipe.llm.model, job.recipe.llm.revision), where)
    swap = job.recipe.transfer.layer_swap
    continues = "align" in job.recipe.stages and swap is None
    _train(job, where, "transfer", transfer_rows, after="align" if continues else None)
    if swap is not None:
        job.processes.from_first(lambda: _swap_layers(job, where, swap))


def _swap_layers(job: Job, where: Path, settings: LayerSwapSettings) -> None:
    """Combine the adapters of both stages."""
    language, task = job.folder / "align" / "adapter", part_of(job.recipe, "transfer", where)
    details = {"stage": "transfer", "fingerprint": stage_fingerprint(job.recipe, "transfer")}
    layers = layer_count(job.recipe.llm)
    swap_layers(language, task, where / "adapter", settings, layers=layers, details=details)
    job.say(f"  combined both adapters: {zones_in_words(settings, layers)}")


def _control(job: Job, where: Path) -> None:
    """Train stage 2 with the same settings, but on the alignment layer as it was before stage 1."""
    _train(job, where, "control", transfer_rows)


def _train(job: Job, where: Path, name: RunStage, rows_of: StageRows, *, after: StageName | None = None) -> None:
    """Train a stage, starting from the part that the stage `after` has trained."""
    recipe, device, processes = job.recipe, job.device.torch_device, job.processes
    section = section_of(name)
    settings: StageSettings = getattr(recipe, section)
    watched = watched_benchmarks(recipe) if recipe.watched_in(section) else []
    prepared = load_prepared(job.folder / "data")
    with token_cache(where, processes.rank) as cache:
        together: dict[str, Any] = {"device": device, "note": job.say, "processes": processes}
        read_stage(recipe, settings, prepared, rows_of, where, cache=cache, **together)
        read_questions(recipe, asked_texts(watched, None), where, **together)
        states = states_folder(recipe, job.folder.path, where / STATES)
        loaded = with_encoder_of_run(recipe, job.folder.path)
        bridge = load_bridge(loaded, device=device, states_folder=states, to_train=True)
        if after is not None:
            part = getattr(recipe, after).trains
            if part == "adapter":
                attach_lora(bridge, recipe.transfer.lora)
            load_part(bridge, part, job.folder / after / part)
        rows = rows_of(prepared, recipe, tokenisation_for(bridge, recipe, job.folder.path, cache))
        if processes.is_first:
            count_rows(recipe, where, rows, bridge.encoder.tokenizer, job.say)
        elif not (where / ROWS).exists():
            rows.lengths()  # this process tokenizes the rows meanwhile, and not after it
        predicted = job.predicted_mib(name)
        watch = None
        if watched:  # its tokenisation counts the lengths of its own texts
            watch = watch_plan(bridge, recipe, section, watched, tokenisation_for(bridge, recipe, job.folder.path))
        run_stage(
            bridge,
            rows,
            recipe,
            where,
            name=name,
            progress=job.progress,
            predicted_mib=predicted,
            watch=watch,
            processes=processes,
        )
    processes.meet()  # all have deleted their cache of tokens

    def forget() -> None:
        forget_states(where)
        forget_caches(where)

    processes.from_first(forget)


def _evaluate(job: Job, where: Path) -> None:
    recipe, processes, device = job.recipe, job.processes, job.device.torch_device
    if processes.is_first:
        record_alignment(recipe, job.folder.path, where, device=device, say=job.say)
    benchmarks = evaluated_benchmarks(recipe)
    for line in custom_lines(recipe.evaluate.benchmarks):
        job.say(f"  {line}")
    pivot = _translated(job, benchmarks)
    read_questions(recipe, asked_texts(benchmarks, pivot), where, device=device, note=job.say, processes=processes)
    settings = recipe.evaluate
    has_room = processes.from_first(lambda: job.plan is None or bool(job.plan.dequantised_bytes))
    if settings.dequantize == "auto" and not has_room:  # the plan has no room
        settings = settings.model_copy(update={"dequantize": False})
    for system in evaluated_systems(recipe):
        states = states_folder(recipe, job.folder.path, where / STATES)
        bridge = load_system(recipe, job.folder.path, system, device=device, states_folder=states)
        responder: Responder = responder_for(bridge, recipe, job.folder.path, settings)
        inputs = answers_depend_on(recipe, job.folder.path, system)
        if pivot is not None:
            responder, inputs, system = in_recipes_language(recipe, responder, inputs, system, pivot)
        shown = nullcontext(None) if job.quiet else answer_progress(sys.stdout)
        with polite_interrupts() as interruption, shown as progress:
            if not processes.is_first:
                answer_share(processes, responder, benchmarks, interruption=interruption)
                continue
            evaluate(
                responder,
                benchmarks,
                where,
                system=system,
                inputs=inputs,
                progress=progress,
                interruption=interruption,
                processes=processes,
            )
    if processes.is_first:  # the others have answered all their questions
        forget_states(where)


def _translated(job: Job, benchmarks: Sequence[Benchmark]) -> Translations | None:
    """The recipe's translations of all questions, the translator's memory free again; None if the recipe translates none."""
    settings, processes = job.recipe.evaluate.pivot, job.processes
    if settings is None:
        return None
    with polite_interrupts() as interruption:
        return translate_together(
            settings,
            benchmarks,
            lambda line: job.say(f"  {line}"),
            interruption=interruption,
            processes=processes,
            goes_on=job.recipe.evaluate.respond_in == "asked",
        )


def _export(job: Job, where: Path) -> None:
    recipe, settings = job.recipe, job.recipe.export
    report = export_bundle(recipe, settings, RunParts.of(job.folder.path, recipe), where, scores=card_scores(job.folder.path))
    for line in report.lines():
        job.say(f"  {line}")
    if settings.drift:
        device = job.device.torch_device
        found = drift_of_export(recipe, settings, job.folder.path, where, device=device, note=job.say)
        sealed_records.write_record(where / DRIFT_FILE, found.as_dict())
        for line in found.lines():
            job.say(f"  {line}")
    report.raise_refusal()


_WORK: dict[Phase, Callable[[Job, Path], None]] = {
    "data": _data,
    "adapt": _adapt,
    "align": _align,
    "transfer": _transfer,
    "control": _control,
    "evaluate": _evaluate,
    "export": _export,
}
_TITLES: dict[Phase, str] = {
    "data": "reading instructions and lexicons",
    "adapt": "the encoder reads running text, so that it knows more languages",
    "align": "stage 1, {align} learns",
    "transfer": "stage 2, {transfer} learns",
    "control": "stage 2 again without stage 1, to measure what stage 1 adds",
    "evaluate": "answering the benchmarks' questions",
    "export": "merging the adapter into the LLM's weights and writing them",
}


def work_on(phase: Phase, job: Job, where: Path) -> None:
    """Do the work of a phase, or the part that is not done yet.

    Args:
        phase: its name.
        job: what it needs.
        where: its folder.

    Raises:
        LiliftError: see `lilift.recipe.errors`. The finished part of the work is kept.
    """
    _WORK[phase](job, where)


def title_of(phase: Phase, recipe: Recipe) -> str:
    """What a phase does, in a few words for the user."""
    names = {"alignment": "the alignment layer", "adapter": "the LLM's adapter"}
    return _TITLES[phase].format(align=names[recipe.align.trains], transfer=names[recipe.transfer.trains])
