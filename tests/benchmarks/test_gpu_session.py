"""`make gpu` is rehearsed here, on shapes too small to say anything, so that it can be trusted where it does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest import mock
from xml.etree import ElementTree

import pytest
import torch

from benchmarks import gpu, gpu_report, gpu_session
from benchmarks.shared import result_files

FOLDER = Path(__file__).parents[2] / "benchmarks"
NUMBERS = f"{Path(__file__).parents[1] / 'kernels' / 'loss' / 'test_triton_loss_calls.py'}::test_all_ignored_is_zero"


def make_wheel(folder: Path, name: str) -> None:
    """A wheel of an installed package."""
    installed = metadata.distribution(name)
    described = installed.read_text("WHEEL")
    assert described is not None
    tag = next(line for line in described.splitlines() if line.startswith("Tag: ")).removeprefix("Tag: ")
    with zipfile.ZipFile(folder / f"{name}-{installed.version}-{tag}.whl", "w") as wheel:
        for file in installed.files or []:
            if file.suffix != ".pyc":
                wheel.write(installed.locate_file(file), str(file))


@pytest.fixture
def bare_machine(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine that has torch, triton and pytest, but neither lilift nor psutil."""
    packages = Path(metadata.distribution("torch").locate_file(""))  # type: ignore[arg-type]
    folder = tmp_path / "packages"
    folder.mkdir()
    for entry in packages.iterdir():
        # Files ending in .pth, that of an editable lilift among them, are only read in site-packages.
        if not entry.name.startswith("psutil") and entry.suffix != ".pth":
            (folder / entry.name).symlink_to(entry)
    return {**os.environ, "PYTHONPATH": str(folder), "PYTHONNOUSERSITE": "1", "OMP_NUM_THREADS": "1"}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_whole_command_on_a_bare_machine(tmp_path: Path, bare_machine: dict[str, str]) -> None:
    """Wheels, a test in Triton's interpreter, both benchmarks, the file of results, tables and plots."""
    pytest.importorskip("triton", reason="triton is not installed")
    python = getattr(sys, "_base_executable", sys.executable)  # that of no virtual environment
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "broken-1.0-py3-none-any.whl").write_bytes(b"no archive")
    command = [python, "-S", str(FOLDER), "gpu", "--device", "cpu", "--wheels", str(wheels), "--tests", NUMBERS]
    command += ["--results", str(tmp_path), "--docs", str(tmp_path / "docs"), "--seconds", "540"]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=bare_machine, cwd=tmp_path, capture_output=True, text=True, timeout=590, check=False)

    refused = run()
    assert refused.returncode == 1
    assert refused.stderr == "not installed: psutil; put the wheels into the folder that --wheels names\n"
    make_wheel(wheels, "psutil")
    result = run()
    told = result.stdout[-6000:] + result.stderr[-4000:]
    (path,) = tmp_path.glob("cpu-*.json")
    found = json.loads(path.read_text(encoding="utf-8"))

    assert found["tests"]["failed"] == [], told
    assert found["tests"]["exit_code"] == 0, told
    assert found["tests"]["passed"] == 2
    assert list(found["wheels_not_installed"]) == ["broken-1.0-py3-none-any.whl"]
    assert result.returncode == 1  # a wheel was asked for that could not be had
    check_loss(found["linear_cross_entropy"], told)
    check_projection(found["alignment_projection"], told)
    check_memory(found["card_memory"], told)
    assert found["unsloth_parity"]["reason"] == "not installed: unsloth"
    check_page(tmp_path / "docs", path.name, found["linear_cross_entropy"])


def check_loss(loss: dict[str, Any], told: str) -> None:
    assert loss["exit_code"] == 0, told
    assert [shape["valid"] for shape in loss["shapes"]] == [0.25, 1.0]
    figures = loss["shapes"][0]["figures"]
    assert {"lilift", "eager", "eager on valid rows", "compiled", "compiled, on valid rows"} <= set(figures)
    for name, figure in figures.items():
        assert isinstance(figure, dict), f"{name}: {figure}"
        assert figure["milliseconds"] > 0
        assert name.startswith("two products") or figure["error"] < 1e-5, name
        assert figure["peak_mebibytes"] >= 0
    assert set(loss["goals"]) <= set(loss["summary"])
    assert loss["summary"]["runs that differ"] == 0
    assert {"liger", "cut-cross-entropy", "cut-cross-entropy, exact", "unsloth"} <= {*loss["skipped"], *figures}
    assert "eager, 25% valid, V=300" in loss["summary"]
    assert loss["broken_by"] == []


def check_projection(projection: dict[str, Any], told: str) -> None:
    assert projection["exit_code"] == 0, told
    for shape in projection["shapes"]:
        assert set(shape["figures"]) == {"lilift", "eager", "compiled"}
        for name, figure in shape["figures"].items():
            assert isinstance(figure, dict), f"{name}: {figure}"
            assert figure["error"] < 1e-5
    assert projection["summary"]["saved activations, share of eager, all valid"] <= 0.6


def check_memory(memory: dict[str, Any], told: str) -> None:
    """What a CPU reserves says nothing; that every step was taken, refused or split does."""
    assert memory["exit_code"] == 0, told
    assert memory["left_out"] == {}, told
    (phases,) = memory["recipes"].values()
    assert all(phases[name]["tokens_per_second"] > 0 for name in ("align", "transfer", "evaluate", "plain"))
    assert memory["summary"]["plans 15% too large that were refused, share"] == 1
    assert memory["summary"]["steps 15% too large that went on after running out, share"] == 1
    assert memory["goals"].keys() == memory["summary"].keys()


def check_page(docs: Path, result_file: str, loss: dict[str, Any]) -> None:
    page = (docs / "gpu.md").read_text(encoding="utf-8")
    assert result_file in page
    assert all(f"{name} ({reason})" in page for name, reason in loss["skipped"].items())
    pictures = list((docs / "gpu").iterdir())
    assert len(pictures) == 2
    assert all(f"gpu/{picture.name}" in page for picture in pictures)
    labels = [element.text for element in ElementTree.parse(pictures[0]).iter() if element.tag.endswith("text")]
    assert set(loss["shapes"][0]["figures"]) <= set(labels)


def test_a_command_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    session = gpu.Session("cpu", 100, tmp_path)
    assert session.run([sys.executable, "-c", "import time; time.sleep(60)"], limit=0.5) == gpu.TIMED_OUT
    assert session.run([sys.executable, "-c", "raise SystemExit(7)"], limit=50) == 7


@pytest.mark.parametrize(("competitor", "again"), [("liger", ["--resume", "--without", "liger"]), ("lilift", ["--resume"])])
@pytest.mark.parametrize("code", [3, -11], ids=["broken", "segmentation fault"])
def test_a_part_goes_on_without_the_competitor_that_broke_it(
    competitor: str, again: list[str], code: int, tmp_path: Path
) -> None:
    (part,) = (part for part in gpu.PARTS if part.name == "loss")
    session = gpu.Session("cuda", 1000, tmp_path)
    seen = []

    def run(command: list[str], *, limit: float) -> int:
        assert limit > 0
        seen.append(command)
        marker = tmp_path / "linear_cross_entropy.at-work"
        if len(seen) == 1:
            marker.write_text(competitor)
            return code
        marker.unlink()
        (tmp_path / "linear_cross_entropy.json").write_text(json.dumps({"summary": {}}))
        return 0

    with mock.patch.object(session, "run", run):
        found = gpu.run_part(session, part)
    assert (found["exit_code"], found["broken_by"], len(seen)) == (0, [competitor], 2)
    assert "--resume" not in seen[0]
    assert seen[1][-len(again) :] == again


def test_a_part_that_keeps_breaking_is_given_up(tmp_path: Path) -> None:
    (part,) = (part for part in gpu.PARTS if part.name == "loss")
    (tmp_path / "linear_cross_entropy.at-work").write_text("lilift")
    session = gpu.Session("cuda", 1000, tmp_path)
    with mock.patch.object(session, "run", mock.Mock(return_value=gpu.BROKEN)) as run:
        assert gpu.run_part(session, part)["exit_code"] == gpu.BROKEN
    assert run.call_count == 2


def test_a_part_without_time_or_packages_is_not_begun(tmp_path: Path) -> None:
    needy = gpu.Part("needy", "needy", "", needs=("json", "no_such_package"))
    for seconds, part, code, reason in (
        (1, gpu.PARTS[0], gpu.TIMED_OUT, "no time was left"),
        (100, needy, 0, "not installed: no_such_package"),
    ):
        session = gpu.Session("cuda", seconds, tmp_path)
        with mock.patch.object(session, "run", side_effect=AssertionError("begun")):
            assert gpu.run_part(session, part) == {"exit_code": code, "reason": reason}


def test_a_run_that_was_cut_short_is_reported(tmp_path: Path) -> None:
    found = {
        "tests": {"exit_code": 124, "skipped": {}},
        "alignment_projection": {"exit_code": 124, "reason": "no time was left"},
        "another": {"exit_code": 0, "summary": {"speed": 2.0}, "goals": {"speed": ("at least", 1.0)}},
    }
    page = gpu_report.render([result_files.keep("gpu", found, tmp_path / "gpu.json")], tmp_path / "docs").read_text(
        encoding="utf-8"
    )
    assert "0 passed, 0 failed (exit code 124)" in page
    assert "`alignment_projection` was not measured: no time was left." in page
    assert "| another | speed | at least 1 | 2 | met |" in page
    without_tests = result_files.keep("gpu", {**found, "tests": {}}, tmp_path / "gpu.json")
    assert "`gpu`: not run." in gpu_report.render([without_tests], tmp_path / "docs").read_text(encoding="utf-8")


def test_without_pytest_the_benchmarks_are_run_all_the_same(tmp_path: Path) -> None:
    with mock.patch.object(gpu, "find_spec", lambda name: None if name == "pytest" else object()):
        found = gpu.run_tests(gpu.Session("cpu", 100, tmp_path), None)
    assert found["exit_code"] != 0
    assert found["skipped"] == {"all tests": "not installed: pytest"}


def test_tests_that_take_too_long_are_interrupted_and_those_that_passed_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_session, "GRACE", 100)
    file, begun = tmp_path / "test_slow.py", tmp_path / "begun"
    tests = f"def test_fine(): pass\n@pytest.mark.gpu\ndef test_endless(): open({str(begun)!r}, 'w'); time.sleep(300)\n"
    file.write_text(f"import pytest, time\n@pytest.mark.gpu\n{tests}")
    wait, clock = subprocess.Popen.wait, time.monotonic
    calls: list[float | None] = []

    def until_the_second_test(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        calls.append(timeout)
        if len(calls) > 1:
            return wait(process, timeout)
        while not begun.exists() and process.poll() is None:
            time.sleep(0.05)
        monkeypatch.setattr(time, "monotonic", lambda: clock() + 1000)  # the time is over
        raise subprocess.TimeoutExpired(process.args, 0)

    monkeypatch.setattr(subprocess.Popen, "wait", until_the_second_test)
    found = gpu.run_tests(gpu.Session("cpu", 500, tmp_path), [str(file)])
    assert found["exit_code"] == gpu.TIMED_OUT
    assert found["passed"] == 1
    assert len(calls) == 2


def test_a_long_command_gives_signs_of_life(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_session, "SIGN_OF_LIFE", 0.2)
    session = gpu.Session("cpu", 100, tmp_path)
    assert session.run([sys.executable, "-c", "import time; time.sleep(0.7)"], limit=50) == 0
    assert capsys.readouterr().out.count(" s of 50)") >= 2


def test_parts_that_do_not_run_keep_their_figures_and_earlier_ones_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    goals = {"speed": ("at least", 2.0)}
    result_files.keep("card", {"linear_cross_entropy": {"summary": {"speed": 1.5}}}, tmp_path / "card-2026-01-01.json")
    path = tmp_path / "card-2026-01-02.json"
    result_files.keep("card", {"tests": {"exit_code": 0, "passed": 3}, "alignment_projection": {"summary": {}}}, path)
    found = {"wheels_not_installed": {}} | gpu.earlier_parts(path)
    assert found["tests"]["passed"] == 3
    found["linear_cross_entropy"] = {"exit_code": 1, "summary": {"speed": 1.75}, "goals": goals}
    assert gpu.summarise(found, ["loss"], gpu.previous(path, "card")) == 1
    assert "| loss | speed | at least 2 | 1.75 | 1.5 | NOT MET |" in capsys.readouterr().out


def test_without_a_gpu_the_command_says_so() -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is at hand")
    result = subprocess.run([sys.executable, str(FOLDER), "gpu"], capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "this machine has no CUDA GPU; rehearse without one with --device cpu"
