"""The locked packages: every pinned version with its sums, and what `make lint` says about advisories."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.audit_packages import LOCKS, verdict

tomllib = pytest.importorskip("tomllib", reason="Python 3.11 and newer; the locks are for those")

ROOT = Path(__file__).resolve().parents[1]
Lock = dict[str, tuple[str, list[str]]]


def locked(name: str) -> Lock:
    """The version and the SHA-256 sums of each package in a lock."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    found = {}
    for line in filter(None, (line.split("#")[0].strip() for line in text.splitlines())):
        package = re.fullmatch(r"([a-z0-9-]+)==(\S+)( ;.*?)?((?:\s+--hash=sha256:[0-9a-f]{64})+)", line)
        assert package, f"{name}: {line[:80]}"
        found[package[1]] = package[2], package[4].split()
    return found


@pytest.fixture(scope="module")
def every_lock() -> Lock:
    return {name: package for lock in LOCKS for name, package in locked(lock).items()}


def test_every_pin_is_locked_at_its_version_with_sums(every_lock: Lock) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {str(canonicalize_name(name)): version for name, _, version in (line.partition("==") for line in lines) if version}
    wrong = {name for name, version in pins.items() if every_lock.get(name, ("none",))[0] != version}
    assert not wrong, "run `make lock`"
    assert set(locked("requirements.lock")) <= set(pins), "constraints.txt lacks what requirements.lock has"


# `make setup` does not install these extras: nothing tests the first two without a GPU, and the others only draw curves.
NOT_INSTALLED = ("unsloth", "liger", "tensorboard", "trackio", "wandb")


def test_every_dependency_is_locked_within_its_range(every_lock: Lock) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    groups = [project["dependencies"], *(texts for extra, texts in extras.items() if extra not in NOT_INSTALLED)]
    for needed in (Requirement(text) for texts in groups for text in texts):
        if needed.name != "lilift":
            version, _ = every_lock[canonicalize_name(needed.name)]
            assert needed.specifier.contains(version), f"{needed}: locked at {version}; run `make lock`"


def test_builds_of_torch_for_cpus_bring_no_cuda_libraries() -> None:
    names = set(locked("requirements.lock"))
    assert not {name for name in names if name == "torch" or name.startswith(("nvidia-", "cuda-"))}
    assert "torch" in locked("torch.lock")


PACKAGES = [
    {"name": "one", "version": "1.0", "vulns": []},
    {"name": "two", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": []}]},
    {"name": "three", "skip_reason": "Dependency not found on PyPI"},
]


def test_an_advisory_fails_and_is_named_and_a_machine_without_the_database_passes_with_one_line() -> None:
    code, lines = verdict(json.dumps({"dependencies": PACKAGES}), "Found 1 known vulnerability")
    assert (code, lines[0]) == (1, "audit: two 2.0: PYSEC-1, fixed in 2.1")
    assert lines[1] == "audit: 1 advisories on 2 packages; 1 skipped"
    assert verdict(json.dumps({"dependencies": PACKAGES[::2]}), "") == (0, ["audit: 0 advisories on 1 packages; 1 skipped"])
    for output, errors in (("", "Traceback …\nConnectionError: no route"), (json.dumps({"dependencies": PACKAGES[2:]}), "")):
        code, lines = verdict(output, errors)
        assert (code, len(lines)) == (0, 1)
        assert lines[0].startswith("audit: not done, because")
