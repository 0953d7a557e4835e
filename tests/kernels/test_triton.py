"""The Triton kernels where there is no GPU: their numbers in the interpreter, and what they take on each card."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="triton is not installed")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("the interpreter is on: nothing can be compiled", allow_module_level=True)

import triton

from lilift_kernels import compilation
from lilift_kernels.compilation import Resources

HERE = Path(__file__).parent
COMMITTED = HERE.parents[1] / "benchmarks" / "results" / "kernel_resources.json"
PRODUCTS = {"exponentials", "accumulate", "linear", "hidden_gradient", "outer"}


@pytest.mark.timeout(600)
def test_the_numbers_in_the_interpreter() -> None:
    # Its own process: Triton decides when it is imported whether it compiles or interprets.
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", str(HERE / "test_triton_numbers.py")]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        command, env=environment, cwd=HERE.parents[1], capture_output=True, text=True, timeout=580, check=False
    )
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    assert " passed" in result.stdout


@pytest.mark.parametrize("capability", sorted(compilation.SHARED_MEMORY))
def test_every_kernel_fits_every_card(capability: int) -> None:
    found = compilation.loss_resources(capability) + compilation.projection_resources(capability)
    for resources in found:
        assert resources.fits, resources
        if resources.kernel in PRODUCTS:
            assert resources.copies > 0, f"{resources}: its loads do not overlap with its products"
            assert resources.products > 0, f"{resources}: no matrix instructions"
    committed = json.loads(COMMITTED.read_text(encoding="utf-8"))
    if committed["triton"] == triton.__version__:
        (table,) = (table for table in committed["tables"] if table["element"] == "bf16" and table["rows"] == 4096)
        kept = [Resources(**entry) for entry in table["kernels"] if entry["capability"] == capability]
        assert found == kept, "benchmarks/results/kernel_resources.json is out of date; run benchmarks/kernel_resources.py"


@pytest.mark.parametrize(("element", "rows"), [("fp16", 4096), ("fp32", 4096), ("bf16", 100)])
def test_other_types_and_few_rows_fit(element: str, rows: int) -> None:
    for resources in compilation.loss_resources(86, element=element, rows=rows):
        assert resources.fits, resources
        assert resources.kernel not in PRODUCTS or resources.copies > 0, resources


@pytest.mark.parametrize("terms", ["capped", "smooths"])
def test_the_losss_terms_fit(terms: str) -> None:
    for resources in compilation.loss_resources(86, capped=terms == "capped", smooths=terms == "smooths"):
        assert resources.fits, resources


def test_a_spill_is_seen() -> None:
    # 128 x 256 sums in four warps do not fit in an Ampere card's registers.
    from lilift_kernels import linear_cross_entropy_triton as loss
    from lilift_kernels.tiles import Blocks

    blocks = Blocks(128, 256, 32, 4, 3)
    constants = {"WIDTH": 4096, "TILE": 8192, "FACTOR_COLUMNS": 128, **compilation.product_constants(blocks)}
    assert not compilation.resources(loss.accumulate, constants, "bf16", blocks, 86).fits
