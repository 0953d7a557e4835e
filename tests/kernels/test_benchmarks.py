"""The kernels' benchmarks run here, on shapes too small to say anything, so that they can be trusted where they do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def run(tmp_path: Path, script: str, *arguments: str) -> tuple[str, dict[str, Any]]:
    output = tmp_path / "found.json"
    command = [sys.executable, str(FOLDER / script), *arguments, "--output", str(output)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout, json.loads(output.read_text(encoding="utf-8"))


def test_linear_cross_entropy(tmp_path: Path) -> None:
    printed, found = run(
        tmp_path,
        "linear_cross_entropy.py",
        *("--device", "cpu", "--rows", "48", "--vocabulary", "300", "--width", "16", "--valid", "0.25", "1"),
        *("--backend", "aot_eager", "--repeats", "2"),
    )
    assert [shape["valid"] for shape in found["shapes"]] == [0.25, 1.0]
    figures = found["shapes"][0]["figures"]
    assert {"lilift", "eager", "eager on valid rows", "compiled", "compiled, on valid rows"} <= set(figures)
    for name, figure in figures.items():
        assert isinstance(figure, dict), f"{name}: {figure}"
        assert figure["milliseconds"] > 0
        assert name.startswith("two products") or figure["error"] < 1e-5, name
        assert figure["peak_mebibytes"] >= 0
    assert all(name in printed for name in figures)
    assert set(found["goals"]) == set(found["summary"]) - {"share of Hugging Face's peak memory, all valid"}
    assert all(f"skipped {name}: {reason}" in printed for name, reason in found["skipped"].items())


def test_alignment_projection(tmp_path: Path) -> None:
    printed, found = run(
        tmp_path,
        "alignment_projection.py",
        *("--device", "cpu", "--rows", "2", "--states", "10", "--widths", "8", "16", "12"),
        *("--backend", "aot_eager", "--repeats", "2"),
    )
    for shape in found["shapes"]:
        assert set(shape["figures"]) == {"lilift", "eager", "compiled"}
        for name, figure in shape["figures"].items():
            assert isinstance(figure, dict), f"{name}: {figure}"
            assert figure["error"] < 1e-5
    assert found["summary"]["saved activations, share of eager, all valid"] <= 0.6
    assert "saved MiB" in printed


@pytest.mark.gpu
def test_on_a_gpu(tmp_path: Path) -> None:
    small = ("--rows", "1024", "--vocabulary", "32000", "--width", "2048", "--valid", "0.25", "--repeats", "3")
    _, found = run(tmp_path, "linear_cross_entropy.py", *small)
    figure = found["shapes"][0]["figures"]["lilift"]
    assert figure["error"] < 2e-3
    assert figure["peak_mebibytes"] < 48
    _, found = run(tmp_path, "alignment_projection.py", "--repeats", "3")
    assert all(shape["figures"]["lilift"]["error"] < 1e-2 for shape in found["shapes"])
