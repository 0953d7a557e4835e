"""Checks that the processes of a run belong together, before the first phase begins."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from lilift import __version__
from lilift.processes.joined_processes import Processes
from lilift.recipe.errors import EnvironmentUnfit, RecipeError, RunFolderError
from lilift.recipe.storage import storage_errors

_COMPARED = ("torch", "transformers", "bitsandbytes", "peft")
_VISIBLE_WITHIN_SECONDS = 30.0  # network drives show a new file late


def require_same_start(processes: Processes, recipe: str, options: Mapping[str, object]) -> None:
    """Compare recipes, options and versions of all processes.

    Args:
        processes: the processes of the run.
        recipe: a digest of the recipe's settings.
        options: the command's options that decide what is run, as JSON values.

    Raises:
        RecipeError: the recipes or options differ.
        EnvironmentUnfit: the versions of lilift or of a package differ.
    """
    versions = {"lilift": __version__} | {name: metadata.version(name) for name in _COMPARED}
    found = processes.gather({"recipe": recipe, "options": dict(options), "versions": versions})
    for rank, other in enumerate(found[1:], start=1):
        for name, version in found[0]["versions"].items():
            if other["versions"][name] != version:
                raise EnvironmentUnfit(
                    f"process {rank} has {name} {other['versions'][name]}, and process 0 has {version}",
                    remedy=f"install the same version of {name} on every machine",
                )
        if other["recipe"] != found[0]["recipe"]:
            raise RecipeError(
                f"process {rank} was started with another recipe than process 0",
                remedy="use the same recipe file and the same --set options on every machine",
            )
        different = [name for name, value in found[0]["options"].items() if other["options"].get(name) != value]
        if different:
            raise RecipeError(
                f"process {rank} was started with another --{different[0]} than process 0",
                remedy="use the same command on every machine",
            )


def require_shared_folder(processes: Processes, folder: Path) -> None:
    """Check that every process sees the folder that the first one writes.

    Raises:
        RunFolderError: a process does not see it.
        StorageError: it cannot be written.
    """

    def write() -> str:
        name = f"shared-{uuid.uuid4().hex}"
        with storage_errors(folder):
            (folder / name).touch()
        return name

    marker = folder / processes.from_first(write)
    try:
        sees = processes.gather(_appears(marker))
    finally:
        if processes.is_first:
            marker.unlink(missing_ok=True)
    if not all(sees):
        raise RunFolderError(
            f"process {sees.index(False)} does not see the run folder of process 0",
            where=folder,
            remedy="choose a folder on a disk that all machines share, with --run-folder",
        )


def _appears(path: Path) -> bool:
    until = time.monotonic() + _VISIBLE_WITHIN_SECONDS
    while not path.exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True
