"""Which implementation runs, and what happens when Triton fails."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from lilift_kernels import TritonFallbackWarning, describe, dispatch

CPU = torch.device("cpu")


class Kernel:
    """A pair of implementations that notes which one ran."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.calls: list[str] = []

    def triton(self) -> str:
        self.calls.append("triton")
        if self.failure is not None:
            raise self.failure
        return "triton"

    def torch(self) -> str:
        self.calls.append("torch")
        return "torch"

    def run(self) -> str:
        return dispatch.run("some_kernel", CPU, triton=self.triton, torch_path=self.torch)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_failures", {})
    monkeypatch.delenv(dispatch.SETTING, raising=False)


@pytest.fixture
def triton_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_hindrance", lambda _: None)


def test_torch_on_a_cpu() -> None:
    kernel = Kernel()
    assert kernel.run() == "torch"
    assert kernel.calls == ["torch"]


@pytest.mark.usefixtures("triton_everywhere")
def test_the_setting_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Kernel().run() == "triton"
    monkeypatch.setenv(dispatch.SETTING, "torch")
    assert Kernel().run() == "torch"
    monkeypatch.setenv(dispatch.SETTING, " Triton ")
    assert Kernel().run() == "triton"


def test_an_unknown_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(dispatch.SETTING, "cuda")
    with pytest.raises(ValueError, match="LILIFT_KERNELS='cuda' is unknown; use one of auto, torch, triton"):
        Kernel().run()


def test_insisting_on_triton_where_it_cannot_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(dispatch.SETTING, "triton")
    with pytest.raises(RuntimeError, match="LILIFT_KERNELS=triton does not work on cpu: "):
        Kernel().run()
    assert "does not work" in describe().reason


@pytest.mark.usefixtures("triton_everywhere")
def test_a_failure_falls_back_once_with_one_warning() -> None:
    kernel = Kernel(RuntimeError("\n  ptxas is too old\nmore"))
    with pytest.warns(TritonFallbackWarning, match="some_kernel failed on cpu .RuntimeError: ptxas is too old.") as caught:
        assert kernel.run() == "torch"
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kernel.run() == "torch"
    assert kernel.calls == ["triton", "torch", "torch"]
    report = describe()
    assert report.backend == "torch"
    assert report.failures == ("some_kernel: RuntimeError: ptxas is too old",)
    assert "ptxas is too old" in report.line()


@pytest.mark.usefixtures("triton_everywhere")
def test_insisting_on_triton_lets_its_error_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(dispatch.SETTING, "triton")
    with pytest.raises(RuntimeError, match="ptxas"):
        Kernel(RuntimeError("ptxas is too old")).run()


@pytest.mark.usefixtures("triton_everywhere")
def test_out_of_memory_is_no_reason_to_leave_triton() -> None:
    kernel = Kernel(torch.OutOfMemoryError("CUDA out of memory"))
    for _ in range(2):
        with pytest.raises(torch.OutOfMemoryError):
            kernel.run()
    assert kernel.calls == ["triton", "triton"]


def test_the_report_names_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(dispatch.SETTING, "torch")
    report = describe()
    assert (report.setting, report.backend) == ("torch", "torch")
    assert torch.__version__ in report.line()


def test_the_package_knows_nothing_of_lilift() -> None:
    folder = Path(dispatch.__file__).parent
    program = (
        f"import sys; sys.path.insert(0, {str(folder.parent)!r}); import lilift_kernels; "
        "print([name for name in sys.modules if name.split('.')[0] in ('lilift', 'transformers', 'triton')])"
    )
    found = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
