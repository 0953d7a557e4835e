"""What benchmarks measure with: figures side by side, goals met and missed, and competitors that break."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch

from benchmarks.kernels import linear_cross_entropy as loss_benchmark
from benchmarks.shared import measuring, result_files

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_every_goal_of_a_gpu_is_measured_where_its_peers_are() -> None:
    peers = ("liger", "cut-cross-entropy", "cut-cross-entropy, exact", "unsloth", "eager", "eager on valid rows")
    figures = {name: measuring.Figure(8.0, 0.1, 100.0, 1e-3) for name in (*peers, "compiled, on valid rows")}
    figures |= {"lilift": measuring.Figure(2.0, 0.1, 40.0, 1e-3), "two products on valid rows": measuring.Figure(1.9, 0, 0, 0)}
    slow = {**figures, "lilift": measuring.Figure(4.0, 0.1, 44.0, 1.9e-3)}
    found = {
        loss_benchmark.Shape(4096, vocabulary, 2048, valid): figures
        for vocabulary in (32_000, 128_256)
        for valid in (0.25, 1.0)
    }
    summary = loss_benchmark.worst(found | {loss_benchmark.Shape(1024, 128_256, 2048, 0.25): slow}) | {"runs that differ": 0}
    assert set(loss_benchmark.GPU_GOALS) <= set(summary)
    assert summary["liger, 25% valid, V=32000"] == 4.0
    assert summary["liger, 25% valid, V=128256"] == 2.0  # the worst shape counts
    assert summary["share of unsloth's peak memory, 25% valid"] == pytest.approx(0.44)
    assert (summary["peak MiB beyond the gradient"], summary["error of the gradient"]) == (44.0, 1.9e-3)


def test_a_goal_that_is_missed_or_not_measured_is_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    goals = {"speed": ("at least", 2.0), "memory": ("at most", 1.0), "peer": ("at least", 1.0)}
    assert result_files.report_goals({"speed": 2.0, "memory": 1.0}, goals)
    assert "peer: not measured" in capsys.readouterr().out
    assert not result_files.report_goals({"speed": 1.9, "memory": 1.0}, goals)


def test_a_peer_that_fails_costs_nobody_else_their_figures() -> None:
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


def test_measuring_on_a_gpu_uses_what_torch_has() -> None:
    """The same code with the GPU's clock and memory replaced; a name that torch lacks would fail here."""
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


def test_a_run_that_was_cut_short_goes_on_where_it_stopped(tmp_path: Path) -> None:
    output = tmp_path / "found.json"
    command = ["--device", "cpu", "--rows", "8", "--vocabulary", "20", "--width", "4", "--only", "eager", "--repeats", "2"]
    command += ["--output", str(output), "--valid", "0.5", "1"]
    assert loss_benchmark.main([*command, "--seconds", "0"]) == 0
    assert not output.exists()
    figure = measuring.Figure(1.0, 0.1, 2.0, 1e-3)
    known = loss_benchmark.Findings(
        {loss_benchmark.Shape(8, 20, 4, 0.5): {"lilift": figure, "liger": "ImportError: none"}}, differing=1
    )
    known.write({}, [], output, on_gpu=False)
    assert loss_benchmark.main([*command, "--resume", "--without", "eager"]) == 0
    found = loss_benchmark.Findings.read(output)
    assert found.differing == 1
    first, second = found.by_shape.items()
    assert (str(first[0]), first[1]) == ("N=8 V=20 D=4 valid=50%", {"lilift": figure, "liger": "ImportError: none"})
    assert set(second[1]) == {"lilift", "two products on valid rows"}


def test_a_fault_that_takes_the_process_with_it_leaves_a_name_behind(tmp_path: Path) -> None:
    output, cpu = tmp_path / "found.json", torch.device("cpu")
    watch = measuring.Watch(output)
    with watch.over("liger", cpu):
        assert measuring.culprit(output) == "liger"
    assert measuring.culprit(output) is None
    with pytest.raises(measuring.BrokenDevice), watch.over("torch", cpu):
        raise measuring.BrokenDevice("torch", "gone")
    assert measuring.culprit(output) == "torch"
    program = (
        "import sys, time, torch; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from benchmarks.shared.measuring import Watch\n"
        "with Watch(Path(sys.argv[2]), seconds=0.2).over('hangs', torch.device('cuda')): time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(FOLDER.parent), str(output)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (ended.returncode, measuring.culprit(output)) == (measuring.BROKEN, "hangs")
    assert "hangs has not returned" in ended.stdout


def test_a_result_file_names_no_folder_of_the_machine(tmp_path: Path) -> None:
    words = ["real_models", "--llm", "/home/me/models/llm", "--set", "encoder.model=/home/me/e5", "seed=0", "models/own"]
    with mock.patch.object(sys, "argv", words):
        path = result_files.keep("some", {}, tmp_path / "some.json")
    command = json.loads(path.read_text(encoding="utf-8"))["command"]
    assert command == "python -m benchmarks real_models --llm llm --set encoder.model=e5 seed=0 models/own"
    for kept in (FOLDER / "results").glob("*.json"):
        words = json.loads(kept.read_text(encoding="utf-8")).get("command", "").replace("=", " ").split()
        assert not any(Path(word).is_absolute() for word in words), kept
