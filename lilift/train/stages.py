"""The two stages of LinguaLIFT (arXiv 2412.12499).

Stage 1, `run_align`: on code-switched English, only the alignment layer learns. Stage 2, `run_transfer`: on English
instructions alone, only a LoRA adapter on the LLM learns. Everything else stays bit for bit what it was. Each stage leaves one
sealed folder, `alignment/` or `adapter/`, and then deletes its checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

from lilift.data.batching import SequenceShape
from lilift.data.steps import RowSource, StepPlan
from lilift.memory.encoding import encode_ahead
from lilift.model.bridge import BridgedModel, attach_lora
from lilift.recipe.errors import RunFolderError
from lilift.recipe.load import fingerprint
from lilift.recipe.schema import WITHOUT_EFFECT_ON_RESULT, Recipe, StageSettings
from lilift.recipe.storage import sealed_folder, verify_sealed_folder
from lilift.train.loop import StageJob, StageResult, train_stage
from lilift.train.progress import StageProgress

ALIGNMENT = "alignment"
ADAPTER = "adapter"
_COMMON_SECTIONS = ("languages", "seed", "encoder", "llm", "alignment", "data")
_SECTIONS = {"align": ("align",), "transfer": ("align", "transfer"), "control": ("transfer",)}


def run_align(
    bridge: BridgedModel,
    source: RowSource,
    recipe: Recipe,
    folder: Path,
    *,
    progress: StageProgress,
    resume: bool = True,
    predicted_mib: float | None = None,
) -> StageResult:
    """Stage 1: train the alignment layer, or load it if this stage is finished already.

    Args:
        bridge: encoder, fresh alignment layer and LLM; its layer is trained in place.
        source: the code-switched rows.
        recipe: what to do.
        folder: of this stage; gets `metrics.jsonl`, `checkpoints/` and, at the end, `alignment/`.
        progress: is told what happens.
        resume: go on from checkpoints in `folder`; without it, they are an error.
        predicted_mib: the planned peak, shown beside the measured one.

    Raises:
        LiliftError: see `train_stage`.
    """
    job = _job("align", "align", recipe.align, bridge, source, recipe, folder, resume, predicted_mib, progress)
    bridge.freeze_for_align()
    return _train_or_load(
        bridge, job, folder / ALIGNMENT, save=bridge.save_alignment, load=bridge.load_alignment, progress=progress
    )


def run_transfer(
    bridge: BridgedModel,
    source: RowSource,
    recipe: Recipe,
    folder: Path,
    *,
    progress: StageProgress,
    resume: bool = True,
    name: str = "transfer",
    predicted_mib: float | None = None,
) -> StageResult:
    """Stage 2: train a LoRA adapter on the LLM, or load it if this stage is finished already.

    Args:
        bridge: with the alignment layer of stage 1; its LLM gets a fresh adapter, unless one was attached already.
        source: the English rows.
        recipe: what to do.
        folder: of this stage; gets `metrics.jsonl`, `checkpoints/` and, at the end, `adapter/`.
        progress: is told what happens.
        resume: go on from checkpoints in `folder`; without it, they are an error.
        predicted_mib: the planned peak, shown beside the measured one.
        name: `transfer`, or `control` for the same stage without stage 1 before it.

    Raises:
        LiliftError: see `train_stage`.
    """
    job = _job(name, "transfer", recipe.transfer, bridge, source, recipe, folder, resume, predicted_mib, progress)
    if not bridge.has_adapter:
        attach_lora(bridge, recipe.transfer.lora)
    bridge.freeze_for_transfer()
    return _train_or_load(bridge, job, folder / ADAPTER, save=bridge.save_adapter, load=bridge.load_adapter, progress=progress)


def _job(
    name: str,
    section: str,
    settings: StageSettings,
    bridge: BridgedModel,
    source: RowSource,
    recipe: Recipe,
    folder: Path,
    resume: bool,
    predicted_mib: float | None,
    progress: StageProgress,
) -> StageJob:
    plan = step_plan(settings, recipe.seed, bridge.alignment.shape, has_llm_bos=bridge.tokens.bos is not None)
    states = bridge.states
    return StageJob(
        name,
        section,
        settings,
        source,
        plan,
        folder,
        stage_fingerprint(recipe, name),
        recipe.seed,
        resume,
        predicted_mib,
        None if states is None else lambda rows: encode_ahead(states, rows, progress.note),
    )


def step_plan(settings: StageSettings, seed: int, shape: SequenceShape, *, has_llm_bos: bool) -> StepPlan:
    """How a stage's rows become steps."""
    return StepPlan(
        shape=shape,
        has_llm_bos=has_llm_bos,
        tokens_per_step=settings.tokens_per_step,
        tokens_per_micro_batch=settings.tokens_per_micro_batch,
        seed=seed,
    )


def stage_fingerprint(recipe: Recipe, name: str) -> str:
    """A digest of all that a stage's result depends on; how often it writes something down is no part of it."""
    settings = recipe.as_dict()
    sections = [*_COMMON_SECTIONS, *_SECTIONS[name]]
    depends_on = {section: settings[section] for section in sections}
    for section in _SECTIONS[name]:
        depends_on[section] = {key: value for key, value in settings[section].items() if key not in WITHOUT_EFFECT_ON_RESULT}
    return fingerprint(name, depends_on)


def _train_or_load(
    bridge: BridgedModel,
    job: StageJob,
    artifact: Path,
    *,
    save: Callable[[Path], None],
    load: Callable[[Path], None],
    progress: StageProgress,
) -> StageResult:
    """Train and seal the result in `artifact`; if it is there already, load it from there."""
    if artifact.exists():
        result = _finished(artifact, job.fingerprint)
        load(artifact)
    else:
        result = train_stage(bridge, job, progress)
        with sealed_folder(artifact, {"stage": job.name, "fingerprint": job.fingerprint, **asdict(result)}) as partial:
            save(partial)
    # Only now: a process that dies before this point goes on from the last one.
    job.checkpoints.remove_all()
    return result


def _finished(artifact: Path, fingerprint: str) -> StageResult:
    """What the stage reached, as it was recorded with its result.

    Raises:
        RunFolderError: the result is damaged, or was made with other settings.
    """
    try:
        details = verify_sealed_folder(artifact)
    except RunFolderError as error:
        raise RunFolderError(error.what, where=error.where, remedy="delete this folder to train the stage again") from error
    if details.get("fingerprint") != fingerprint:
        raise RunFolderError("was made with other settings", where=artifact, remedy="use another run folder")
    return StageResult(**{field.name: details[field.name] for field in fields(StageResult)})
