"""The encoder of a run: the one that its recipe names, or the adapted copy in its folder."""

from __future__ import annotations

from pathlib import Path

from lilift.recipe import sealed_folders, storage
from lilift.recipe.schema import Recipe

ADAPTED = "encoder"
"""The sealed folder of the adapted encoder, in the folder of the phase `adapt`."""


def adapted_encoder(recipe: Recipe, run: Path) -> Path | None:
    """The sealed folder of a run's adapted encoder; None if the recipe adapts none."""
    return None if recipe.encoder.adapt is None else run / "adapt" / ADAPTED


def with_encoder_of_run(recipe: Recipe, run: Path) -> Recipe:
    """The recipe from which models are loaded: its encoder is the adapted one of the run, if the recipe adapts it.

    Fingerprints take the recipe itself, so that a run may move to another folder.

    Raises:
        RunFolderError: the run has not adapted it yet, or a file of it has changed since.
    """
    folder = adapted_encoder(recipe, run)
    if folder is None:
        return recipe
    sealed_folders.verify_part(
        folder,
        if_unfinished=sealed_folders.remedy_to_finish(run),
        if_damaged="restore it from a copy, or adapt the encoder again with "
        f"`{sealed_folders.run_command(run, '--restart-from adapt')}`",
    )
    encoder = recipe.encoder.model_copy(update={"model": str(folder.resolve()), "revision": None, "adapt": None})
    return recipe.model_copy(update={"encoder": encoder})


def states_folder(recipe: Recipe, run: Path, folder: Path) -> Path:
    """Where a phase keeps encoder states on the disk: the states of an adapted encoder are not those of another one.

    Args:
        recipe, run: the run and its recipe.
        folder: holds the states of a phase.
    """
    encoder = adapted_encoder(recipe, run)
    if encoder is None:
        return folder
    return folder / str(storage.read_json(encoder / sealed_folders.MANIFEST)["seal"])[:16]
