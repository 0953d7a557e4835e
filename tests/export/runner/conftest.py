"""A run and its export, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("xllamacpp")

from lilift.model.bridge import BridgedModel
from lilift.recipe.schema import Recipe
from tests.export.exported_run import export, make_run


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, BridgedModel, Path]:
    """Recipe, live model, and the folder of its run."""
    folder = tmp_path_factory.mktemp("made") / "run"
    return *make_run(folder), folder


@pytest.fixture(scope="session")
def exported(made: tuple[Recipe, BridgedModel, Path]) -> Path:
    """Its export in `f32` and `q8_0`; look, but change nothing."""
    recipe, _, run = made
    return export(recipe, run, run.parent / "exported", "f32", "q8_0")
