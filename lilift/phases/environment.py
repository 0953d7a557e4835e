"""Examines the machine for `lilift doctor`, and describes it for the run folder.

`lilift doctor` also works where packages are missing: it is the command that says which.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import psutil
from packaging.requirements import Requirement

from lilift import __version__

# Packages that change results or speed. Every run records their versions.
_RECORDED_PACKAGES = ("torch", "transformers", "bitsandbytes", "peft", "accelerate", "safetensors", "sentencepiece", "triton")
# Without these, lilift cannot train.
_ESSENTIAL = ("torch", "transformers", "bitsandbytes", "peft")
GIB = 1024**3


@dataclass(frozen=True)
class Finding:
    """One line of `lilift doctor`."""

    subject: str
    state: Literal["works", "note", "broken"]
    found: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def describe_environment() -> dict[str, Any]:
    """The machine and the versions of packages, for `environment.json`."""
    import torch

    return {
        "lilift": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / GIB, 1),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "packages": {name: version for name in _RECORDED_PACKAGES if (version := _version(name))},
    }


def examine() -> list[Finding]:
    """Check everything that lilift needs. This takes a few seconds, because it trains one 4-bit layer."""
    checks: tuple[Callable[[], list[Finding]], ...] = (_python, _packages, _memory, _disk, _exports, _stand_ins)
    with_torch: tuple[Callable[[], list[Finding]], ...] = (_processor, _gpu, _kernels, _unsloth, _four_bit)
    missing = [name for name in _ESSENTIAL if _version(name) is None]
    return [finding for check in (*checks, *(() if missing else with_torch)) for finding in check()]


def _python() -> list[Finding]:
    return [Finding("Python", "works", f"{platform.python_version()} on {platform.platform(terse=True)}")]


def _packages() -> list[Finding]:
    """Compare installed versions with the ranges that lilift is tested with."""
    requirements = _requirements()
    if requirements is None:
        advice = "run `pip install --editable '.[train]'` in lilift's source tree"
        return [Finding("packages", "note", "lilift is not installed, and cannot read which versions it needs", advice)]
    if all(_version(name) is None for name in _ESSENTIAL):
        return [Finding("training", "broken", "its packages are not installed (torch …)", "pip install 'lilift[train]'")]
    findings = []
    for requirement in requirements:
        version = _version(requirement.name)
        if version is None:
            findings.append(Finding(requirement.name, "broken", "not installed", f"pip install '{requirement}'"))
        elif not requirement.specifier.contains(version, prereleases=True):
            wanted = f"{requirement.name}{requirement.specifier}"
            findings.append(Finding(requirement.name, "note", f"lilift is not tested with {version}", f"tested: {wanted}"))
    if not findings:
        shown = ", ".join(f"{name} {_version(name)}" for name in _ESSENTIAL)
        findings.append(Finding("packages", "works", f"{shown}: all in their tested ranges"))
    return findings


def _requirements() -> list[Requirement] | None:
    """What lilift and its extra `train` require; None if lilift was not installed, and Python cannot read pyproject.toml.

    Packages for training are an extra, because exports run without them. `lilift doctor` reports on them too.
    """
    try:
        lines = metadata.requires("lilift") or []
    except metadata.PackageNotFoundError:  # started from a source tree
        project = _project()
        if project is None:
            return None
        lines = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    requirements = [Requirement(line) for line in lines]
    extras = ({"extra": ""}, {"extra": "train"})
    return [one for one in requirements if not one.marker or any(one.marker.evaluate(extra) for extra in extras)]


def _project() -> dict[str, Any] | None:
    """The table `project` of the source tree's pyproject.toml."""
    if sys.version_info >= (3, 11):  # older Pythons do not read TOML
        import tomllib

        path = Path(__file__).parents[2] / "pyproject.toml"
        if path.is_file():
            project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
            return project
    return None


def _exports() -> list[Finding]:
    """Check what runs GGUF files. Without it, lilift still trains and writes Hugging Face folders."""
    missing = [name for name in ("gguf", "xllamacpp", "starlette", "uvicorn") if _version(name) is None]
    if missing:
        found = f"cannot run GGUF files or serve them: {', '.join(missing)} not installed"
        return [Finding("exports", "note", found, "pip install 'lilift[gguf]'")]
    return [Finding("exports", "works", f"llama.cpp runs GGUF files (xllamacpp {_version('xllamacpp')})")]


def _processor() -> list[Finding]:
    """Report the threads that torch may compute with, and whether they wait without occupying their cores."""
    from lilift.train.processor_threads import set_by_user, usable_threads

    cores, threads = os.cpu_count() or 1, usable_threads()
    if set_by_user():
        found = f"{cores} cores, {threads} threads, as your environment variable says (OMP_NUM_THREADS)"
    else:
        found = f"{cores} cores, up to {threads} threads; small models compute with fewer"
    policy = os.environ.get("OMP_WAIT_POLICY", "")
    if policy.lower() == "active":
        advice = "unset OMP_WAIT_POLICY: on a busy machine, waiting threads take the cores from the others"
        return [Finding("processor", "note", f"{found}; threads that wait occupy their cores", advice)]
    return [Finding("processor", "works", found)]


def _gpu() -> list[Finding]:
    import torch

    from lilift.memory.device import FIRST_WITH_BFLOAT16

    if not torch.cuda.is_available():
        advice = "tiny-cpu runs without a GPU; all other recipes need an NVIDIA GPU and a CUDA build of torch"
        return [Finding("GPU", "note", "no CUDA GPU", advice)]
    free, total = torch.cuda.mem_get_info(0)
    found = f"{torch.cuda.get_device_name(0)}, {free / GIB:.1f} of {total / GIB:.1f} GiB free, CUDA {torch.version.cuda}"
    findings = [Finding("GPU", "works", found)]
    if torch.cuda.get_device_capability(0) < FIRST_WITH_BFLOAT16:
        lacking = "no bfloat16 in hardware (compute capability below 8.0)"
        advice = "lilift computes the LLM in float16 and the encoder in float32, and scales the loss"
        findings.append(Finding("number types", "note", lacking, advice))
    return findings


def _memory() -> list[Finding]:
    memory = psutil.virtual_memory()
    found = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free"
    if memory.available < 3 * GIB:
        return [Finding("memory", "note", found, "tiny-cpu needs 3 GiB: close other programs")]
    return [Finding("memory", "works", found)]


def _disk() -> list[Finding]:
    here = Path.cwd()
    found = f"{shutil.disk_usage(here).free / GIB:.1f} GiB free in the current folder"
    if not os.access(here, os.W_OK):
        return [Finding("disk", "note", f"{found}, which is read-only", "choose a writable folder with --run-folder")]
    return [Finding("disk", "works", found)]


def _kernels() -> list[Finding]:
    try:
        from lilift_kernels import dispatch
    except ImportError as error:
        if error.name != "lilift_kernels":
            raise
        advice = "install lilift, or add the folder `kernels` of its source tree to PYTHONPATH"
        return [Finding("kernels", "broken", "the package lilift_kernels is not there", advice)]
    return [Finding("kernels", "works", dispatch.describe().line())]


def _unsloth() -> list[Finding]:
    """Check the optional backend unsloth. A missing unsloth is a note, no error."""
    from lilift.model.llms.unsloth_backend import problem

    found = problem()
    if found is None:
        return [Finding("unsloth", "works", "can train the LLM", "set `llm.backend: unsloth` to use it (experimental)")]
    return [Finding("unsloth", "note", f"not usable: {found}", "it is optional; lilift trains with transformers")]


def _four_bit() -> list[Finding]:
    """Train through one NF4 layer after using it in evaluation mode, where bitsandbytes on a CPU needs lilift's fix."""
    import torch

    kind = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        error = four_bit_error(kind)
    except Exception as failure:  # a broken installation may raise anything, and doctor shows it
        reason = " ".join(str(failure).split())[:200]
        return [Finding("4-bit training", "broken", f"{type(failure).__name__}: {reason}", "reinstall bitsandbytes")]
    return [
        Finding(
            "4-bit training", "works", f"NF4 forward and backward pass on {kind}; outputs differ by {error:.1%} from 32-bit"
        )
    ]


def four_bit_error(kind: str) -> float:
    """Relative difference between the outputs of one NF4 layer and its 32-bit ones.

    Raises:
        RuntimeError: no gradient flows through the layer.
    """
    import torch

    from lilift.model.four_bit_loading import keep_autograd_on_cpu
    from lilift.model.training_libraries import bitsandbytes

    full = torch.nn.Linear(256, 256, bias=False)
    layer = bitsandbytes.nn.Linear4bit(256, 256, bias=False, compute_dtype=torch.float32, quant_type="nf4")
    layer.load_state_dict(full.state_dict())
    keep_autograd_on_cpu(layer)
    layer, full = layer.to(kind), full.to(kind)
    inputs = torch.randn(8, 256, device=kind)
    with torch.no_grad():
        outputs, expected = layer.eval()(inputs), full(inputs)
    inputs.requires_grad_(True)
    layer.train()(inputs).sum().backward()
    if inputs.grad is None:
        raise RuntimeError("no gradient flows through a 4-bit layer")
    return float((outputs - expected).norm() / expected.norm())


def _stand_ins() -> list[Finding]:
    from lilift.model.sources import model_folder_or_hub
    from lilift.recipe.errors import LiliftError

    try:
        folders = [model_folder_or_hub(f"stand-in:{name}") for name in ("llm", "encoder")]
    except LiliftError as error:
        return [Finding("stand-in models", "broken", error.line(), "reinstall lilift")]
    size = sum(file.stat().st_size for folder in folders for file in Path(folder).rglob("*") if file.is_file())
    return [Finding("stand-in models", "works", f"present, {size / 1e6:.1f} MB")]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
