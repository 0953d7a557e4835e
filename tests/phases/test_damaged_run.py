"""One flipped bit anywhere in a finished run is found and named, and a damaged record never costs a checkpoint."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from lilift.phases.run import FinishedRun
from lilift.phases.run_folder import Phase, RunFolder, recipe_of, wanted_phases
from lilift.recipe.errors import LiliftError, RunFolderError
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import Recipe
from lilift.recipe.sealed_folders import sealed_folder
from lilift.recipe.sealed_records import read_record
from lilift.recipe.storage import write_json

NEVER_READ = ("run.lock", "environment.json", "report.html", "README.md")
"""Every run writes these anew, or a user may edit them.

lilift reads only the number of threads from environment.json. A wrong number changes last digits at most. Checkpoints
record the number too, and lilift then warns.
"""


def flip_a_bit(path: Path) -> bytes:
    """Flip one bit of a file's content. A seal comes last: without its name, the file reads as one of an earlier version."""
    before = path.read_bytes()
    end = max(before.rfind(b'"seal"'), before.rfind(b"# sha256"))
    place = random.Random(path.name).randrange(8 * (end if end > 0 else len(before)))
    after = bytearray(before)
    after[place // 8] ^= 1 << place % 8
    path.write_bytes(after)
    return before


def resumed(run: Path, recipe: Recipe) -> None:
    """What `--resume` reads of a finished run before it says that every phase is done."""
    read_record(run / "plan.json", remedy="")
    recipe_of(run)
    with RunFolder.opened(run, recipe, resume=True, restart_from=None) as folder:
        assert all(folder.is_done(phase) for phase in wanted_phases(recipe))
        for phase in wanted_phases(recipe):
            folder.check_finished(phase)


def test_a_flipped_bit_in_any_file_is_found_and_the_file_is_named(finished_run: FinishedRun, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run.path, run)
    resumed(run, finished_run.recipe)
    unnoticed = {}
    for path in sorted(path for path in run.rglob("*") if path.is_file() and path.name not in NEVER_READ):
        kept = flip_a_bit(path)
        try:
            resumed(run, finished_run.recipe)
            unnoticed[path.relative_to(run).as_posix()] = "nothing"
        except LiliftError as error:
            if path.name not in error.line() or error.exit_code not in (2, 5):
                unnoticed[path.relative_to(run).as_posix()] = error.line()
        path.write_bytes(kept)
    assert not unnoticed


def small_run(folder: Path) -> Recipe:
    """A run whose stage 1 was interrupted after its first checkpoint."""
    recipe = load_recipe("tiny-cpu")
    with RunFolder.opened(folder, recipe, resume=False, restart_from=None) as run:
        run.begin("data")
        run.finish("data", {"seconds": 1.0})
        align = run.begin("align")
        with sealed_folder(align / "checkpoints" / "step-00000003", {"fingerprint": "of the stage"}) as partial:
            (partial / "trained.safetensors").write_text("hours of work")
    return recipe


@pytest.mark.parametrize("record", ['{"fingerp', '{"fingerprint": "00000000000000ff"}', "[]", None], ids=str)
def test_a_damaged_record_never_costs_checkpoints(tmp_path: Path, record: str | None) -> None:
    recipe = small_run(tmp_path)
    inputs = tmp_path / "align" / "inputs.json"
    inputs.unlink() if record is None else inputs.write_text(record)
    with RunFolder.opened(tmp_path, recipe, resume=True, restart_from=None) as run:
        assert (run.begin("align") / "checkpoints" / "step-00000003" / "trained.safetensors").exists()
    assert read_record(inputs, remedy="")["fingerprint"] not in ("00000000000000ff", None)


def test_one_changed_digit_in_a_sealed_record_keeps_the_answers_too(tmp_path: Path) -> None:
    recipe = load_recipe("tiny-cpu")
    with RunFolder.opened(tmp_path, recipe, resume=False, restart_from=None) as run:
        (run.begin("evaluate") / "answers").write_text("hours of work")
        inputs = tmp_path / "evaluate" / "inputs.json"
        content = json.loads(inputs.read_text())
        changed = content["fingerprint"][:-1] + ("0" if content["fingerprint"][-1] != "0" else "1")
        inputs.write_text(json.dumps(content | {"fingerprint": changed}))
        assert (run.begin("evaluate") / "answers").exists()


def test_a_run_of_an_earlier_version_is_still_read(tmp_path: Path) -> None:
    recipe = load_recipe("tiny-cpu")
    small_run(tmp_path)
    for name in ("data/done.json", "data/inputs.json", "align/inputs.json"):
        write_json(tmp_path / name, {"fingerprint": json.loads((tmp_path / name).read_text())["fingerprint"]})
    text = (tmp_path / "recipe.yaml").read_text().splitlines(keepends=True)
    assert text.pop().startswith("# sha256")
    (tmp_path / "recipe.yaml").write_text("".join(text))
    assert recipe_of(tmp_path) == recipe
    with RunFolder.opened(tmp_path, recipe, resume=True, restart_from=None) as run:
        assert run.is_done("data")
        assert (run.begin("align") / "checkpoints" / "step-00000003").exists()


def test_a_changed_recipe_of_a_run_is_refused_unless_the_phases_began_with_the_recipe_that_is_given(tmp_path: Path) -> None:
    recipe = small_run(tmp_path)
    kept = tmp_path / "recipe.yaml"
    kept.write_text(kept.read_text().replace("seed: 0", "seed: 1"))
    with pytest.raises(RunFolderError, match=r"recipe\.yaml: has been changed since .*delete its last line if you changed it"):
        recipe_of(tmp_path)
    other = load_recipe("tiny-cpu", ["seed=1"])
    with (
        pytest.raises(RunFolderError, match=r"recipe\.yaml.*restore it"),
        RunFolder.opened(tmp_path, other, resume=True, restart_from=None),
    ):
        pass
    with RunFolder.opened(tmp_path, recipe, resume=True, restart_from=None):
        assert recipe_of(tmp_path) == recipe


@pytest.mark.parametrize("phase", ["align", "export"])
def test_a_phase_on_another_disk_is_repeated_there(tmp_path: Path, phase: Phase) -> None:
    recipe = load_recipe("tiny-cpu")
    elsewhere = tmp_path / "other disk"
    (elsewhere / "checkpoints" / "step-00000003").mkdir(parents=True)
    run = tmp_path / "run"
    run.mkdir()
    with RunFolder.opened(run, recipe, resume=False, restart_from=None):
        (run / phase).symlink_to(elsewhere)
    with RunFolder.opened(run, recipe, resume=False, restart_from=phase) as folder:
        assert not list(elsewhere.iterdir())
        folder.begin(phase)
    assert (run / phase).is_symlink()
    assert [path.name for path in elsewhere.iterdir()] == ["inputs.json"]
