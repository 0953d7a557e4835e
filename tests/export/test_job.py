"""What an export starts from: the trained parts of a run, each finished and undamaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from lilift.export.job import RunParts
from lilift.recipe.errors import RunFolderError
from lilift.recipe.load import load_recipe
from lilift.recipe.sealed_folders import sealed_folder


def seal(folder: Path) -> None:
    with sealed_folder(folder) as partial:
        (partial / "weights").write_bytes(b"1234")


def test_an_export_names_the_stage_to_finish_and_the_file_that_is_damaged(tmp_path: Path) -> None:
    seal(tmp_path / "align" / "alignment")
    with pytest.raises(RunFolderError) as unfinished:
        RunParts.of(tmp_path, load_recipe("tiny-cpu"))
    command = f"lilift recipe run {tmp_path}/recipe.yaml --run-folder {tmp_path} --resume"
    assert unfinished.value.line() == f"{tmp_path}: phase 'transfer' of this run is not finished; finish it with `{command}`"
    seal(tmp_path / "transfer" / "adapter")
    parts = RunParts.of(tmp_path, load_recipe("tiny-cpu"))
    assert (parts.alignment, parts.adapter) == (tmp_path / "align" / "alignment", tmp_path / "transfer" / "adapter")
    (parts.adapter / "weights").write_bytes(b"1235")
    with pytest.raises(RunFolderError, match=r"adapter: is damaged: weights has changed since it was written$"):
        RunParts.of(tmp_path, load_recipe("tiny-cpu"))
