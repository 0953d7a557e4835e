"""Checks the two models of a recipe for what its phases will need of them, before the first phase begins."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from lilift.export.gguf.encoder_configuration import ARCHITECTURES as ENCODER_ARCHITECTURES
from lilift.export.gguf.llm_configuration import FAMILIES as LLM_FAMILIES
from lilift.export.llm_folder import config_content
from lilift.model.encoders.expected_prefix import missing_prefix
from lilift.model.sources import require_configuration
from lilift.phases.model_check.file_checks import Ability, Problems, encoder_file_problems, llm_file_problems
from lilift.phases.model_check.small_files import ModelFiles, model_files
from lilift.phases.run_folder import Phase
from lilift.recipe.errors import LiliftError, ModelError
from lilift.recipe.schema import Recipe

_TO_HF = "export with --to hf"  # the exporter's remedy; a recipe has a setting for it
_TO_HF_IN_RECIPE = "set `export.formats` to [hf]"


def unfit_models(
    recipe: Recipe,
    phases: Collection[Phase],
    *,
    without_torch: bool = False,
    say: Callable[[str], None] | None = None,
) -> dict[Phase, list[LiliftError]]:
    """Everything that these phases cannot do with the models of a recipe, as far as the models' small files say it.

    lilift looks into folders and the hub's cache, and downloads small files from the hub. It says nothing about a model that
    is not on this machine while the hub cannot be reached.

    Args:
        recipe: names the models, and what the phases do with them.
        phases: what is to run.
        without_torch: leave out the checks that first load torch and transformers, which takes a few seconds, if lilift knows
            the families of both models and their files say nothing against them.
        say: receives a line about each model that lilift has not checked, and about an encoder without its usual prefix.
    """
    needs = {phase: abilities for phase in phases if (abilities := _abilities(recipe, phase))}
    wanted = {ability for abilities in needs.values() for ability in abilities}
    unfit: dict[Phase, list[LiliftError]] = {}
    if not wanted:
        return unfit
    for section, problems_of in (("llm", _llm_problems), ("encoder", partial(_encoder_problems, say=say))):
        if section == "encoder" and not recipe.has_encoder:
            continue
        try:
            problems = problems_of(recipe, wanted, without_torch)
            if problems is None:
                if say is not None:
                    say(_unchecked(recipe, section))
                continue
        except ModelError as error:  # the model itself cannot be found or read
            unfit.setdefault(next(iter(needs)), []).append(error)
            continue
        told: set[Ability] = set()
        for phase, abilities in needs.items():
            for ability in abilities:
                if ability in problems and ability not in told:
                    told.add(ability)
                    found = _in_recipe(problems[ability], ability, section, recipe)
                    if str(found) not in {str(one) for errors in unfit.values() for one in errors}:
                        unfit.setdefault(phase, []).append(found)
    return unfit


def absent_models(recipe: Recipe, phases: Collection[Phase]) -> list[LiliftError]:
    """Models that these phases need and that are neither on this machine nor on the hub, or while the hub cannot be reached."""
    if not any(_abilities(recipe, phase) for phase in phases):
        return []
    wanted = [("LLM", recipe.llm.model, recipe.llm.revision)]
    if recipe.has_encoder:
        wanted.append(("encoder", recipe.encoder.model, recipe.encoder.revision))
    absent: list[LiliftError] = []
    for what, model, revision in wanted:
        try:
            require_configuration(model, revision, what=what)
        except ModelError as error:
            absent.append(error)
    return absent


def can_be_gguf(recipe: Recipe) -> bool:
    """Whether lilift can write a run of this recipe as GGUF, as far as the models' small files say it."""
    if not recipe.can_be_exported or recipe.alignment.layers == "mix":
        return False
    asked = recipe.model_copy(update={"export": recipe.export.model_copy(update={"formats": ("gguf",)})})
    exporting: tuple[Phase, ...] = ("export",)
    return not unfit_models(asked, exporting, without_torch=True)


def _unchecked(recipe: Recipe, section: str) -> str:
    name = recipe.llm.model if section == "llm" else recipe.encoder.model
    return f"lilift has not checked {section}.model: {name} is not in the hub's cache, and lilift cannot reach the hub"


def require_usable_models(unfit: dict[Phase, list[LiliftError]]) -> None:
    """Stop for what makes a plan pointless: a model that lilift cannot train or answer with.

    Raises:
        LiliftError: the first such problem.
    """
    for phase, errors in unfit.items():
        if phase != "export":
            raise errors[0]


def _abilities(recipe: Recipe, phase: Phase) -> tuple[Ability, ...]:
    if phase == "export":
        merged: tuple[Ability, ...] = ("merges",) if recipe.export.formats else ()
        return (*merged, "gguf") if "gguf" in recipe.export.formats else merged
    by_phase: dict[Phase, tuple[Ability, ...]] = {
        "align": ("trains",),
        "transfer": ("trains",),
        "control": ("trains",),
        "evaluate": ("answers",),
    }
    return by_phase.get(phase, ())


def _llm_problems(recipe: Recipe, wanted: Collection[Ability], without_torch: bool) -> Problems | None:
    files = model_files(recipe.llm.model, recipe.llm.revision, what="LLM")

    def slow(files: ModelFiles) -> Problems:
        from lilift.phases.model_check.configuration_checks import llm_configuration_problems

        return llm_configuration_problems(files, recipe)

    def quick(files: ModelFiles) -> Problems:
        return llm_file_problems(files, recipe.llm)

    return _problems(files, quick, slow, wanted, quick_is_enough=without_torch and _is_one_of(files, LLM_FAMILIES))


def _encoder_problems(
    recipe: Recipe, wanted: Collection[Ability], without_torch: bool, *, say: Callable[[str], None] | None
) -> Problems | None:
    files = model_files(recipe.encoder.model, recipe.encoder.revision, what="encoder")
    prefix = None if files is None else missing_prefix(recipe.encoder, files.folder)
    if prefix is not None and say is not None:
        say(prefix)

    def slow(files: ModelFiles) -> Problems:
        from lilift.phases.model_check.configuration_checks import encoder_configuration_problems

        return encoder_configuration_problems(files, recipe.encoder, recipe.export.encoder_quantisation)

    quick_is_enough = without_torch and _is_one_of(files, ENCODER_ARCHITECTURES)
    return _problems(files, encoder_file_problems, slow, wanted, quick_is_enough=quick_is_enough)


def _is_one_of(files: ModelFiles | None, architectures: Collection[str]) -> bool:
    return files is not None and next(iter(config_content(files.folder).get("architectures") or []), None) in architectures


def _problems(
    files: ModelFiles | None,
    quick: Callable[[ModelFiles], Problems],
    slow: Callable[[ModelFiles], Problems],
    wanted: Collection[Ability],
    *,
    quick_is_enough: bool,
) -> Problems | None:
    """What the quick checks find, and what the checks find that load torch first; None if there are no files.

    lilift leaves out the slow checks if the quick ones find that it cannot train the model or answer with it, which settles the
    matter. If the quick ones find something about the export only, the slow ones may find that the model is no LLM at all.
    """
    if files is None:
        return None
    problems = quick(files)
    found = problems.keys() & set(wanted)
    if found & {"trains", "answers"} or (quick_is_enough and not found):
        return problems
    return slow(files) | problems


def _in_recipe(error: LiliftError, ability: Ability, section: str, recipe: Recipe) -> LiliftError:
    """An error with the setting that causes it, and with a remedy in the recipe."""
    if not isinstance(error, ModelError) or (error.where or "").startswith(f"{section}."):
        return error  # it names a setting already
    remedy = error.remedy or ""
    if ability == "gguf":
        remedy = remedy.replace(_TO_HF, _TO_HF_IN_RECIPE) if _TO_HF in remedy else f"{_TO_HF_IN_RECIPE}, or {remedy}"
    name = recipe.llm.model if section == "llm" else recipe.encoder.model
    return ModelError(error.what, where=f"{section}.model: {name}", remedy=remedy or None)
