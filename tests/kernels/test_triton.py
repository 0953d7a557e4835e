"""The Triton kernels where there is no GPU: their numbers in the interpreter, and what they take on each card."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="triton is not installed")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("the interpreter is on: nothing can be compiled", allow_module_level=True)

import triton

from benchmarks.gpu import KERNEL_TESTS
from lilift_kernels.compilation import SHARED_MEMORY, Launch, Resources, compile_launch, faults, launches
from lilift_kernels.launch_configurations import LossCall, every

HERE = Path(__file__).parent
COMMITTED = HERE.parents[1] / "benchmarks" / "results" / "kernel_resources.json"
PINS = HERE.parents[1] / "constraints.txt"
CARDS = sorted(SHARED_MEMORY)


@pytest.mark.timeout(600)
def test_the_numbers_in_the_interpreter() -> None:
    # Its own process: Triton decides when it is imported whether it compiles or interprets.
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", *map(str, KERNEL_TESTS)]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        command, env=environment, cwd=HERE.parents[1], capture_output=True, text=True, timeout=580, check=False
    )
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    assert " passed" in result.stdout


@cache
def sample() -> list[tuple[LossCall, int]]:
    """Calls and cards such that every two choices meet in one of them, each card's usual call first."""
    bits: dict[tuple[object, ...], int] = {}

    def pairs(call: LossCall, card: int) -> int:
        """The pairs of choices that meet here, a bit each."""
        choices = [*vars(call).items(), ("card", card)]
        return sum(1 << bits.setdefault(pair, len(bits)) for pair in itertools.combinations(choices, 2))

    everything = {(call, card): pairs(call, card) for call in every() for card in CARDS}
    chosen = [(LossCall(), card) for card in CARDS]
    missing = (1 << len(bits)) - 1
    for item in chosen:
        missing &= ~everything[item]
    while missing:
        best = max(everything, key=lambda item: (everything[item] & missing).bit_count())
        chosen.append(best)
        missing &= ~everything[best]
    return chosen


@pytest.mark.parametrize("capability", CARDS)
def test_what_is_launched_fits_the_card(capability: int) -> None:
    committed = json.loads(COMMITTED.read_text(encoding="utf-8"))
    chosen = [call for call, card in sample() if card == capability]
    for launch in dict.fromkeys(launch for call in chosen for launch in launches(call)):
        found = compile_launch(launch, capability)
        assert not faults(launch, found, capability)
        if committed["triton"] == triton.__version__:
            kept = committed["kernels"][str(launch)][str(capability)]
            assert found.line() == kept, (
                f"{launch}: {COMMITTED.name} is out of date; run `python -m benchmarks kernel_resources`"
            )


def test_every_launch_was_compiled_for_every_card_once() -> None:
    committed = json.loads(COMMITTED.read_text(encoding="utf-8"))
    assert committed["triton"] in {pin.removeprefix("triton==") for pin in PINS.read_text(encoding="utf-8").splitlines()}
    for call in every()[::5]:
        for launch in launches(call):
            assert set(committed["kernels"].get(str(launch), {})) == {str(card) for card in CARDS}, str(launch)


def test_faults_are_seen() -> None:
    (launch,) = (launch for launch in launches(LossCall()) if launch.kernel == "exponentials")
    # 8,192 columns in one warp are 256 numbers for each thread: more than its registers.
    wide = replace(launch, warps=1, constants=tuple(_widened(launch).items()))
    assert any("spills: " in fault for fault in faults(wide, compile_launch(wide, 86), 86))
    large = Resources(registers=100, stack=0, shared=101_377)
    assert [fault.split("sm_86 ")[1] for fault in faults(launch, large, 86)] == [
        "takes 101377 bytes of shared memory, of 101376"
    ]
    assert not faults(launch, large, 90)


def _widened(launch: Launch) -> dict[str, object]:
    constants = dict(launch.constants)
    return {**constants, "SIZES": constants["SIZES"]._replace(columns=8192)}
