"""Choose the implementation that runs: Triton on an NVIDIA GPU, plain torch everywhere else.

``LILIFT_KERNELS`` chooses. ``auto`` (the default) uses Triton where it works, ``torch`` never uses it, and ``triton`` requires
it and raises its errors. Under ``auto``, if Triton cannot compile or launch a kernel (an old driver, an unusual card, no C
compiler), torch takes its place for the rest of the process, after one warning that says what happened.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch

from lilift_kernels import autotuning

Backend = Literal["torch", "triton"]
Result = TypeVar("Result")

SETTING = "LILIFT_KERNELS"
CHOICES = ("auto", "torch", "triton")

_failures: dict[str, str] = {}


class TritonFallbackWarning(UserWarning):
    """A Triton kernel failed, and torch takes its place."""


@dataclass(frozen=True)
class KernelReport:
    """The report of ``lilift doctor``: the implementation that runs on this machine's best device, and why."""

    setting: str
    device: str
    backend: Backend
    reason: str
    torch_version: str
    triton_version: str | None
    failures: tuple[str, ...]

    def line(self) -> str:
        """The report as one line."""
        triton = f"triton {self.triton_version}" if self.triton_version else "no triton"
        failed = "".join(f"; failed: {failure}" for failure in self.failures)
        tuned = f"; autotuned, kept in {autotuning.cache_file()}" if autotuning.enabled() and self.backend == "triton" else ""
        return (
            f"{self.backend} on {self.device} ({self.reason}); {SETTING}={self.setting}, "
            f"torch {self.torch_version}, {triton}{tuned}{failed}"
        )


def setting() -> str:
    """The value of ``LILIFT_KERNELS``.

    Raises:
        ValueError: it is not ``auto``, ``torch`` or ``triton``.
    """
    value = os.environ.get(SETTING, "auto").strip().lower() or "auto"
    if value not in CHOICES:
        raise ValueError(f"{SETTING}={value!r} is unknown; use one of {', '.join(CHOICES)}")
    return value


def backend(device: torch.device) -> Backend:
    """The implementation for tensors on ``device``.

    Raises:
        RuntimeError: ``LILIFT_KERNELS=triton``, and Triton cannot run there.
    """
    chosen = setting()
    if chosen == "torch":
        return "torch"
    hindrance = _hindrance(device)
    if hindrance is None:
        return "triton"
    if chosen == "triton":
        raise RuntimeError(f"{SETTING}=triton does not work on {device}: {hindrance}")
    return "torch"


def run(kernel: str, device: torch.device, *, triton: Callable[[], Result], torch_path: Callable[[], Result]) -> Result:
    """Call the Triton or the torch implementation of ``kernel``; the module's first lines give the rule.

    Autocast is off inside, so that the types are those of the arguments. Check the arguments before: every error that Triton
    raises counts as Triton's own failure. The exception is running out of memory, which is raised, so that the caller can take
    a smaller batch.
    """
    with torch.autocast(device.type, enabled=False):
        if backend(device) == "torch":
            return torch_path()
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            return _run_triton(kernel, device, triton, torch_path)


def _run_triton(kernel: str, device: torch.device, triton: Callable[[], Result], torch_path: Callable[[], Result]) -> Result:
    if setting() == "triton":
        return triton()
    if kernel in _failures:
        return torch_path()
    try:
        return triton()
    except torch.OutOfMemoryError:
        raise
    except Exception as failure:
        _failures[kernel] = f"{type(failure).__name__}: {_first_line(failure)}"
        warnings.warn(
            f"the Triton kernel {kernel} failed on {_device_name(device)} ({_failures[kernel]}); lilift uses plain torch "
            f"from now on, slower but with the same results. Set {SETTING}=torch to silence this warning, or {SETTING}=triton "
            "to see the whole error",
            TritonFallbackWarning,
            stacklevel=3,
        )
        return torch_path()


def describe() -> KernelReport:
    """Report what runs on this machine's best device, for ``lilift doctor``; an impossible setting raises no error."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = setting()
    hindrance = _hindrance(device)
    if chosen == "torch":
        selected: Backend = "torch"
        reason = "chosen by the setting"
    elif hindrance is None:
        selected = "triton"
        reason = "Triton is installed and the GPU is supported"
    else:
        selected = "torch"
        reason = hindrance if chosen == "auto" else f"{SETTING}=triton does not work: {hindrance}"
    if selected == "triton" and _failures:
        selected = "torch" if chosen == "auto" else selected
        reason = "Triton failed earlier in this process" if chosen == "auto" else reason
    return KernelReport(
        setting=chosen,
        device=_device_name(device),
        backend=selected,
        reason=reason,
        torch_version=torch.__version__,
        triton_version=_triton_version(),
        failures=tuple(f"{kernel}: {failure}" for kernel, failure in sorted(_failures.items())),
    )


def debugging() -> bool:
    """True under ``LILIFT_KERNELS_DEBUG=1``: labels and indices are checked on the GPU too, and the caller waits for it."""
    return os.environ.get("LILIFT_KERNELS_DEBUG", "0") not in ("", "0")


def _hindrance(device: torch.device) -> str | None:
    """Why Triton cannot run on ``device``, or None when it can."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    if device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1" and setting() == "triton":
        return None  # Triton's interpreter, for tests
    if device.type != "cuda":
        return f"Triton needs an NVIDIA GPU, and this is {device.type}"
    if torch.version.cuda is None:
        return "this torch is not built for CUDA"
    if torch.cuda.is_available() and torch.cuda.get_device_capability(device) < (8, 0):
        return "the GPU is older than compute capability 8.0 (Ampere)"
    return None


def _triton_version() -> str | None:
    if importlib.util.find_spec("triton") is None:
        return None
    import triton

    return str(triton.__version__)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda" and torch.cuda.is_available():
        return torch.cuda.get_device_name(device)
    return device.type


def _first_line(failure: Exception) -> str:
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    return lines[0][:300] if lines else "no message"
