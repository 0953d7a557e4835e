"""The training stages of a recipe.

LinguaLIFT (arXiv 2412.12499) has two. Stage 1, `align`, trains only the alignment layer, on code-switched English. Stage 2,
`transfer`, trains only a LoRA adapter on the LLM, on English instructions. Baselines leave a stage out, or train the other part
in it (`trains`). Everything else keeps the same bits. A stage leaves one sealed folder, `alignment/` or `adapter/`, and then
deletes its checkpoints.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import Literal

from lilift.data.batches.batching import SequenceShape
from lilift.data.batches.step_grouping import RowSource, StepPlan
from lilift.memory.encode_ahead import encode_ahead
from lilift.memory.host_allocator import KEPT_BETWEEN_STEPS, freed_blocks_kept
from lilift.model.assemble_bridge import attach_lora
from lilift.model.bridge import BridgedModel
from lilift.model.bridge_files import load_part, save_part
from lilift.processes.joined_processes import ALONE, Processes
from lilift.processes.same_weights import require_same_weights, weights_of
from lilift.recipe.errors import RunFolderError
from lilift.recipe.load import fingerprint
from lilift.recipe.schema import WITHOUT_EFFECT_ON_RESULT, Recipe, StageName, StageSettings
from lilift.recipe.sealed_folders import sealed_folder, verify_part
from lilift.train.accuracy_watch import WatchPlan
from lilift.train.loop import train_stage
from lilift.train.stage_job import StageJob, StageResult
from lilift.train.tracking.sinks import tracker_for
from lilift.train.training_progress import StageProgress

RunStage = Literal["align", "transfer", "control"]
"""`control` is `transfer` without `align` before it."""
TASK_ADAPTER = "task-adapter"
_COMMON_SECTIONS = ("languages", "seed", "encoder", "llm", "alignment", "data")
_SECTIONS = {"align": ("align",), "transfer": ("align", "transfer"), "control": ("transfer",)}


def run_stage(
    bridge: BridgedModel,
    source: RowSource,
    recipe: Recipe,
    folder: Path,
    *,
    name: RunStage,
    progress: StageProgress,
    resume: bool = True,
    predicted_mib: float | None = None,
    watch: WatchPlan | None = None,
    processes: Processes = ALONE,
) -> StageResult:
    """Train a stage, or load its result if the stage is finished already.

    Args:
        bridge: changed in place. If the stage trains an adapter and the LLM carries none, the LLM gets a fresh one.
        source: the rows.
        recipe: holds the settings.
        folder: the stage's folder. It gets `metrics.jsonl`, `checkpoints/` and, at the end, `alignment/` or `adapter/`.
        name: the stage's name.
        progress: shows what happens.
        resume: continue from checkpoints in `folder`. If it is off, existing checkpoints are an error.
        predicted_mib: the planned peak; lilift shows it beside the measured one.
        watch: the foreign questions that lilift watches meanwhile, if any.
        processes: those that train the stage together. The first one writes the files.

    Raises:
        LiliftError: see `train_stage`.
    """
    section = section_of(name)
    settings: StageSettings = getattr(recipe, section)
    if settings.trains == "adapter" and not bridge.has_adapter:
        attach_lora(bridge, recipe.transfer.lora)
    bridge.train_only(settings.trains)
    states = bridge.states
    tracker = tracker_for(recipe, folder, progress.note)
    job = StageJob(
        name=name,
        section=section,
        settings=settings,
        source=source,
        plan=step_plan(settings, recipe.seed, bridge.alignment.shape, has_llm_bos=bridge.tokens.bos is not None),
        folder=folder,
        fingerprint=stage_fingerprint(recipe, name),
        seed=recipe.seed,
        resume=resume,
        predicted_mib=predicted_mib,
        encode=None if states is None else lambda rows: encode_ahead(states, rows, progress.note),
        watch=watch,
        processes=processes,
        tracker=tracker,
    )
    require_same_weights(processes, weights_of(bridge), name)
    try:
        keeps = bridge.device.type == "cpu" and settings.freed_memory == "keep"
        with freed_blocks_kept(KEPT_BETWEEN_STEPS) if keeps else nullcontext():
            return _train_or_load(bridge, job, part_of(recipe, name, folder), progress)
    finally:
        if tracker is not None:
            tracker.close()


def part_of(recipe: Recipe, name: RunStage, folder: Path) -> Path:
    """The folder of what a stage trains. A stage whose adapter is combined with that of stage 1 keeps its own beside it."""
    settings: StageSettings = getattr(recipe, section_of(name))
    return folder / (TASK_ADAPTER if name == "transfer" and recipe.transfer.layer_swap is not None else settings.trains)


def step_plan(settings: StageSettings, seed: int, shape: SequenceShape, *, has_llm_bos: bool) -> StepPlan:
    """How a stage's rows become steps."""
    return StepPlan(
        shape=shape,
        has_llm_bos=has_llm_bos,
        tokens_per_step=settings.tokens_per_step,
        tokens_per_micro_batch=settings.tokens_per_micro_batch,
        seed=seed,
    )


def stage_fingerprint(recipe: Recipe, name: RunStage) -> str:
    """A digest of everything that a stage's result depends on. How often the stage writes files does not count."""
    settings = recipe.as_dict()
    sections = [*_COMMON_SECTIONS, *_SECTIONS[name]]
    depends_on = {section: settings[section] for section in sections}
    for section in _SECTIONS[name]:
        depends_on[section] = {key: value for key, value in settings[section].items() if key not in WITHOUT_EFFECT_ON_RESULT}
    during = recipe.keeps_best_of(section_of(name))
    return fingerprint(name, depends_on if during is None else depends_on | {"during": during.model_dump(mode="json")})


def section_of(name: RunStage) -> StageName:
    """The recipe's section that holds the settings of a stage."""
    return "align" if name == "align" else "transfer"


def _train_or_load(bridge: BridgedModel, job: StageJob, artifact: Path, progress: StageProgress) -> StageResult:
    """Train and seal the result in `artifact`. If `artifact` exists already, load it instead."""
    part, processes = job.settings.trains, job.processes
    if processes.from_first(artifact.exists):
        result = _finished(artifact, job.fingerprint)
        load_part(bridge, part, artifact)
    else:
        result = train_stage(bridge, job, progress)
        processes.from_first(lambda: _seal(bridge, job, artifact, result))
    # Only now, so that a run that dies before this point can continue from the last checkpoint.
    processes.from_first(job.checkpoints.remove_all)
    return result


def _seal(bridge: BridgedModel, job: StageJob, artifact: Path, result: StageResult) -> None:
    figures = {key: value for key, value in asdict(result).items() if value is not None}
    with sealed_folder(artifact, {"stage": job.name, "fingerprint": job.fingerprint, **figures}) as partial:
        save_part(bridge, job.settings.trains, partial)


def _finished(artifact: Path, fingerprint: str) -> StageResult:
    """What a finished stage took and reached, from the record beside its result.

    Raises:
        RunFolderError: the result is damaged, or was made with other settings.
    """
    remedy = "restore it from a copy, or delete this folder to train the stage again"
    details = verify_part(artifact, if_damaged=remedy)
    if details.get("fingerprint") != fingerprint:
        raise RunFolderError(
            "was made with other settings",
            where=artifact,
            remedy="use another run folder, or repeat the phase with --restart-from",
        )
    return StageResult(**{field.name: details[field.name] for field in fields(StageResult) if field.name in details})
