"""The prompt template that a run keeps is the one that it was trained with, or a clear refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from lilift.data.texts.kept_template import TEMPLATE, keep_template, kept_template
from lilift.data.texts.prompt_templates import TEMPLATES, Template
from lilift.recipe.errors import RunFolderError

DATED = Template("chat", "Today is 27 Nov 2026. ", "", {"respond": "\nA:", "reconstruct": "\nA:English:"}, "")


@pytest.mark.parametrize("template", [DATED, *TEMPLATES.values()], ids=lambda template: template.name)
def test_it_comes_back_as_it_was(template: Template, tmp_path: Path) -> None:
    keep_template(template, tmp_path)
    assert kept_template(tmp_path) == template


def test_a_run_from_before_has_none(tmp_path: Path) -> None:
    assert kept_template(tmp_path) is None


@pytest.mark.parametrize("damage", [("27 Nov", "28 Nov"), ('"before"', '"befor"'), ("{", "[")])
def test_a_changed_one_is_refused(damage: tuple[str, str], tmp_path: Path) -> None:
    keep_template(DATED, tmp_path)
    path = tmp_path / TEMPLATE
    path.write_text(path.read_text(encoding="utf-8").replace(*damage), encoding="utf-8")
    with pytest.raises(RunFolderError, match="prompt template"):
        kept_template(tmp_path)
