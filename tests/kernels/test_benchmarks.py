"""`make gpu` is rehearsed here, on shapes too small to say anything, so that it can be trusted where it does."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock
from xml.etree import ElementTree

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"
NUMBERS = f"{Path(__file__).parent / 'test_triton_loss.py'}::test_all_ignored_is_zero"


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports a module of benchmarks/, which are scripts beside one another and no package."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    for name in set(sys.modules) - before:
        if str(FOLDER) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


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


@pytest.mark.timeout(600)
def test_the_whole_command_on_a_bare_machine(tmp_path: Path, bare_machine: dict[str, str]) -> None:
    """Wheels, a test in Triton's interpreter, both benchmarks, the file of results, tables and plots."""
    pytest.importorskip("triton", reason="triton is not installed")
    python = getattr(sys, "_base_executable", sys.executable)  # that of no virtual environment
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "broken-1.0-py3-none-any.whl").write_bytes(b"no archive")
    command = [python, "-S", str(FOLDER / "gpu.py"), "--device", "cpu", "--wheels", str(wheels), "--tests", NUMBERS]
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


def test_every_goal_of_a_gpu_is_measured_where_its_peers_are(benchmarks: Any) -> None:
    module, measuring = benchmarks("linear_cross_entropy"), benchmarks("measuring")
    peers = ("liger", "cut-cross-entropy", "cut-cross-entropy, exact", "unsloth", "eager", "eager on valid rows")
    figures = {name: measuring.Figure(8.0, 0.1, 100.0, 1e-3) for name in (*peers, "compiled, on valid rows")}
    figures |= {"lilift": measuring.Figure(2.0, 0.1, 40.0, 1e-3), "two products on valid rows": measuring.Figure(1.9, 0, 0, 0)}
    slow = {**figures, "lilift": measuring.Figure(4.0, 0.1, 44.0, 1.9e-3)}
    found = {module.Shape(4096, vocabulary, 2048, valid): figures for vocabulary in (32_000, 128_256) for valid in (0.25, 1.0)}
    summary = module.worst(found | {module.Shape(1024, 128_256, 2048, 0.25): slow}) | {"runs that differ": 0}
    assert set(module.GPU_GOALS) <= set(summary)
    assert summary["liger, 25% valid, V=32000"] == 4.0
    assert summary["liger, 25% valid, V=128256"] == 2.0  # the worst shape counts
    assert summary["share of unsloth's peak memory, 25% valid"] == pytest.approx(0.44)
    assert (summary["peak MiB beyond the gradient"], summary["error of the gradient"]) == (44.0, 1.9e-3)


def test_a_goal_that_is_missed_or_not_measured_is_told_apart(benchmarks: Any, capsys: pytest.CaptureFixture[str]) -> None:
    results = benchmarks("results")
    goals = {"speed": ("at least", 2.0), "memory": ("at most", 1.0), "peer": ("at least", 1.0)}
    assert results.report_goals({"speed": 2.0, "memory": 1.0}, goals)
    assert "peer: not measured" in capsys.readouterr().out
    assert not results.report_goals({"speed": 1.9, "memory": 1.0}, goals)


def test_a_peer_that_fails_costs_nobody_else_their_figures(benchmarks: Any) -> None:
    measuring = benchmarks("measuring")
    calls = []

    def later() -> torch.Tensor:
        calls.append(1)
        if len(calls) > 4:
            raise RuntimeError("no more\nof this")
        return torch.ones(3)

    def at_once() -> torch.Tensor:
        raise ImportError("nothing here")

    competitors = {"fine": [lambda: torch.ones(3)], "at once": [at_once], "later": [later]}
    found = measuring.compare(competitors, lambda _: 0.0, torch.device("cpu"), repeats=6)
    assert isinstance(found["fine"], measuring.Figure)
    assert found["at once"] == "ImportError: nothing here"
    assert found["later"] == "RuntimeError: no more"


def test_measuring_on_a_gpu_uses_what_torch_has(benchmarks: Any) -> None:
    """The same code with the GPU's clock and memory replaced; a name that torch lacks would fail here."""
    measuring = benchmarks("measuring")
    events = mock.create_autospec(torch.cuda.Event, instance=False)
    events.return_value.elapsed_time.return_value = 3.0
    properties = mock.Mock(L2_cache_size=64, spec_set=["L2_cache_size"])
    real_empty = torch.empty
    replaced = {
        "Event": events,
        "synchronize": mock.DEFAULT,
        "empty_cache": mock.DEFAULT,
        "_sleep": mock.DEFAULT,
        "reset_peak_memory_stats": mock.DEFAULT,
        "memory_allocated": mock.Mock(return_value=100),
        "max_memory_allocated": mock.Mock(return_value=100 + 12 + 2**20),
        "get_device_properties": mock.Mock(return_value=properties),
    }
    on_cpu = mock.patch.object(torch, "empty", lambda *size, **options: real_empty(*size, **{**options, "device": "cpu"}))
    with mock.patch.multiple(torch.cuda, **replaced) as patched, on_cpu:
        competitors = {"ours": [lambda: torch.ones(3)]}
        found = measuring.compare(competitors, lambda _: 0.5, torch.device("cuda"), repeats=7)
        assert found["ours"] == measuring.Figure(3.0, 0.0, 1.0, 0.5)
        patched["synchronize"].side_effect = [None] * 3 + [RuntimeError("an illegal memory access")]
        with pytest.raises(measuring.BrokenDevice, match="ours has left the GPU unusable"):
            measuring.compare(competitors, lambda _: 0.5, torch.device("cuda"), repeats=7)


def test_a_command_that_takes_too_long_is_ended_with_all_it_started(benchmarks: Any, tmp_path: Path) -> None:
    gpu = benchmarks("gpu")
    session = gpu.Session("cpu", 100, tmp_path)
    assert session.run([sys.executable, "-c", "import time; time.sleep(60)"], limit=0.5) == gpu.TIMED_OUT
    assert session.run([sys.executable, "-c", "raise SystemExit(7)"], limit=50) == 7


@pytest.mark.parametrize(("competitor", "again"), [("liger", ["--resume", "--without", "liger"]), ("lilift", ["--resume"])])
@pytest.mark.parametrize("code", [3, -11], ids=["broken", "segmentation fault"])
def test_a_part_goes_on_without_the_competitor_that_broke_it(
    competitor: str, again: list[str], code: int, benchmarks: Any, tmp_path: Path
) -> None:
    gpu = benchmarks("gpu")
    (part,) = (part for part in gpu.PARTS if part.name == "linear_cross_entropy")
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


def test_a_part_that_keeps_breaking_is_given_up(benchmarks: Any, tmp_path: Path) -> None:
    gpu = benchmarks("gpu")
    (part,) = (part for part in gpu.PARTS if part.name == "linear_cross_entropy")
    (tmp_path / "linear_cross_entropy.at-work").write_text("lilift")
    session = gpu.Session("cuda", 1000, tmp_path)
    with mock.patch.object(session, "run", mock.Mock(return_value=gpu.BROKEN)) as run:
        assert gpu.run_part(session, part)["exit_code"] == gpu.BROKEN
    assert run.call_count == 2


def test_a_part_without_time_or_packages_is_not_begun(benchmarks: Any, tmp_path: Path) -> None:
    gpu = benchmarks("gpu")
    needy = gpu.Part("needy", "", needs=("json", "no_such_package"))
    for seconds, part, code, reason in (
        (1, gpu.PARTS[0], gpu.TIMED_OUT, "no time was left"),
        (100, needy, 0, "not installed: no_such_package"),
    ):
        session = gpu.Session("cuda", seconds, tmp_path)
        with mock.patch.object(session, "run", side_effect=AssertionError("begun")):
            assert gpu.run_part(session, part) == {"exit_code": code, "reason": reason}


def test_a_run_that_was_cut_short_is_reported(benchmarks: Any, tmp_path: Path) -> None:
    results, report = benchmarks("results"), benchmarks("gpu_report")
    found = {
        "tests": {"exit_code": 124, "skipped": {}},
        "alignment_projection": {"exit_code": 124, "reason": "no time was left"},
        "another": {"exit_code": 0, "summary": {"speed": 2.0}, "goals": {"speed": ("at least", 1.0)}},
    }
    page = report.render([results.keep("gpu", found, tmp_path / "gpu.json")], tmp_path / "docs").read_text(encoding="utf-8")
    assert "0 passed, 0 failed (exit code 124)" in page
    assert "`alignment_projection` was not measured: no time was left." in page
    assert "| another | speed | at least 1 | 2 | met |" in page


def test_without_pytest_the_benchmarks_are_run_all_the_same(benchmarks: Any, tmp_path: Path) -> None:
    gpu = benchmarks("gpu")
    with mock.patch.object(gpu, "find_spec", lambda name: None if name == "pytest" else object()):
        found = gpu.run_tests(gpu.Session("cpu", 100, tmp_path), None)
    assert found["exit_code"] != 0
    assert found["skipped"] == {"all tests": "not installed: pytest"}


def test_tests_that_take_too_long_are_interrupted_and_those_that_passed_are_counted(
    benchmarks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = benchmarks("gpu")
    monkeypatch.setattr(gpu, "GRACE", 100)
    file, begun = tmp_path / "test_slow.py", tmp_path / "begun"
    tests = f"def test_fine(): pass\n@pytest.mark.gpu\ndef test_endless(): open({str(begun)!r}, 'w'); time.sleep(300)\n"
    file.write_text(f"import pytest, time\n@pytest.mark.gpu\n{tests}")
    wait = subprocess.Popen.wait
    calls = []

    def until_the_second_test(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        calls.append(timeout)
        while len(calls) == 1 and not begun.exists() and process.poll() is None:
            time.sleep(0.05)
        if len(calls) == 1:
            raise subprocess.TimeoutExpired(process.args, 0)
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", until_the_second_test)
    found = gpu.run_tests(gpu.Session("cpu", 500, tmp_path), [str(file)])
    assert found["exit_code"] == gpu.TIMED_OUT
    assert found["passed"] == 1
    assert len(calls) == 2


def test_a_run_that_was_cut_short_goes_on_where_it_stopped(benchmarks: Any, tmp_path: Path) -> None:
    module, measuring = benchmarks("linear_cross_entropy"), benchmarks("measuring")
    output = tmp_path / "found.json"
    command = ["--device", "cpu", "--rows", "8", "--vocabulary", "20", "--width", "4", "--only", "eager", "--repeats", "2"]
    command += ["--output", str(output), "--valid", "0.5", "1"]
    assert module.main([*command, "--seconds", "0"]) == 0
    assert not output.exists()
    figure = measuring.Figure(1.0, 0.1, 2.0, 1e-3)
    known = module.Findings({module.Shape(8, 20, 4, 0.5): {"lilift": figure, "liger": "ImportError: none"}}, differing=1)
    known.write({}, [], output, on_gpu=False)
    assert module.main([*command, "--resume", "--without", "eager"]) == 0
    found = module.Findings.read(output)
    assert found.differing == 1
    first, second = found.by_shape.items()
    assert (str(first[0]), first[1]) == ("N=8 V=20 D=4 valid=50%", {"lilift": figure, "liger": "ImportError: none"})
    assert set(second[1]) == {"lilift", "two products on valid rows"}


def test_a_fault_that_takes_the_process_with_it_leaves_a_name_behind(benchmarks: Any, tmp_path: Path) -> None:
    measuring = benchmarks("measuring")
    output, cpu = tmp_path / "found.json", torch.device("cpu")
    watch = measuring.Watch(output)
    with watch.over("liger", cpu):
        assert measuring.culprit(output) == "liger"
    assert measuring.culprit(output) is None
    with pytest.raises(measuring.BrokenDevice), watch.over("torch", cpu):
        raise measuring.BrokenDevice("torch", "gone")
    assert measuring.culprit(output) == "torch"
    program = (
        "import sys, time, torch; sys.path.insert(0, sys.argv[1]); from measuring import Watch; from pathlib import Path\n"
        "with Watch(Path(sys.argv[2]), seconds=0.2).over('hangs', torch.device('cuda')): time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(FOLDER), str(output)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (ended.returncode, measuring.culprit(output)) == (measuring.BROKEN, "hangs")
    assert "hangs has not come back" in ended.stdout


def test_without_a_gpu_the_command_says_so() -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is at hand")
    result = subprocess.run([sys.executable, str(FOLDER / "gpu.py")], capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "no CUDA GPU here; `--device cpu` rehearses without one"
