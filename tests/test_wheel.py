"""The wheel: everything that lilift reads is in it, and it works without the repository beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a wheel that was built from this checkout."""
    builders = pytest.importorskip("hatchling.builders.wheel", reason="hatchling builds the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    (wheel,) = builders.WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def run(unpacked: Path, where: Path, *words: str) -> str:
    """The output of the wheel's `lilift`, run in another folder; the other packages are this environment's."""
    # Only the wheel's files go on the path, and the editable install that this environment has is put behind them.
    start = f"import sys; sys.path.insert(0, {str(unpacked)!r}); import lilift, lilift_kernels; "
    start += "print(lilift.__file__, lilift_kernels.__file__); from lilift.cli.app import main; sys.exit(main(sys.argv[1:]))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    result = subprocess.run(
        [sys.executable, "-P", "-c", start, *words], cwd=where, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    files, _, rest = result.stdout.partition("\n")
    assert all(Path(file).is_relative_to(unpacked) for file in files.split(" ")), files
    return rest


def test_the_wheel_has_every_tracked_file_of_both_packages_and_every_recipe(unpacked: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if not listed:
        pytest.skip("git does not list the files of this checkout")
    places = {"lilift/": "lilift/", "kernels/lilift_kernels/": "lilift_kernels/", "recipes/": "lilift/shipped_recipes/"}
    expected = {
        inside + name.removeprefix(outside)
        for name in listed.split("\0")
        for outside, inside in places.items()
        if name.startswith(outside) and (ROOT / name).is_file()
    }
    found = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert expected - found == set()
    assert {name for name in found if name.startswith(("tests/", "benchmarks/", "findings/"))} == set()


def test_the_wheel_checks_a_shipped_recipe_away_from_the_repository(unpacked: Path, tmp_path: Path) -> None:
    assert "qwen3-8b-16gb" in run(unpacked, tmp_path, "recipe", "validate", "qwen3-8b-16gb")


@pytest.mark.long
def test_the_wheel_trains_evaluates_and_exports(unpacked: Path, tmp_path: Path) -> None:
    steps = [f"{stage}.max_steps=2" for stage in ("align", "transfer")]
    settings = [word for setting in (*steps, "evaluate.max_questions=2") for word in ("--set", setting)]
    run(unpacked, tmp_path, "recipe", "run", "tiny-cpu", "--run-folder", "run", *settings)
    assert (tmp_path / "run" / "export" / "lilift.json").is_file()
