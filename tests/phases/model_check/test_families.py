"""A tiny model of every family goes the whole way or is refused at once, and docs/models.md says which."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from docs.model_table import PAGE, outcome
from lilift.phases.model_check.check_model import ANSWERS, GGUF, MERGES, STAGE_1, STAGE_2, check_model
from lilift.phases.model_check.recipe_models import unfit_models
from lilift.phases.run_folder import PHASES
from lilift.recipe.load import load_recipe
from tests.phases.model_check.tiny_families import FAMILIES, Family, saved

Folder = Callable[[Family], Path]
PHASE_OF = {ANSWERS: "evaluate", MERGES: "export", GGUF: "export"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    @cache
    def made(family: Family) -> Path:
        return saved(family, tmp_path_factory.mktemp("family") / "model")

    return made


def test_the_page_has_a_line_for_every_family() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert [line.split(" | ")[0][2:] for line in lines if line.startswith("| ") and "`" in line] == [
        family.name for family in FAMILIES
    ]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_page_says_what_a_family_can_do(family: Family, folder: Folder) -> None:
    """What would stop a run after training is refused from the model's files, before the run begins."""
    report = check_model(str(folder(family)))
    assert report.kind == family.kind
    assert any(line.startswith(outcome(family, report)) for line in PAGE.read_text(encoding="utf-8").splitlines()), report
    unfit = unfit_models(load_recipe("tiny-cpu", [f"{family.kind}.model={folder(family)}"]), PHASES)
    refused = {finding.question for finding in report.findings if finding.verdict == "no"}
    late = {PHASE_OF[question] for question in refused & PHASE_OF.keys()}
    assert unfit.keys() - {"align"} == late
    assert ("align" in unfit) == bool(refused & {STAGE_1, STAGE_2})
