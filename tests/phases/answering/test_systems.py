"""Before a run answers, its trained parts are checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from lilift.phases.answering.systems import check_trained_part
from lilift.recipe.errors import RunFolderError
from lilift.recipe.sealed_folders import sealed_folder


def test_a_part_that_cannot_answer_names_the_command_that_makes_it(tmp_path: Path) -> None:
    part = tmp_path / "transfer" / "adapter"
    with pytest.raises(RunFolderError) as unfinished:
        check_trained_part(part)
    remedy = f"finish it with `lilift recipe run {tmp_path}/recipe.yaml --run-folder {tmp_path} --resume`"
    assert unfinished.value.line() == f"{tmp_path}: phase 'transfer' of this run is not finished; {remedy}"
    with sealed_folder(part) as partial:
        (partial / "weights").write_bytes(b"1234")
    check_trained_part(part)
    (part / "weights").write_bytes(b"12345")
    with pytest.raises(
        RunFolderError, match=r"weights has 5 bytes instead of 4; restore it .* train it again .* --restart-from transfer"
    ):
        check_trained_part(part)
