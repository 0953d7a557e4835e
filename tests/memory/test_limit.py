"""A large card that plays a small one, and a plan that is raised by what this machine took before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lilift.memory import calibration, device
from lilift.memory.device import Device, cap_memory
from lilift.memory.phase_plan import phase_on_card
from lilift.memory.planned_card import GIB, limited_card, planned_card
from lilift.phases.rehearsals import plan_recipe
from lilift.recipe.errors import EnvironmentUnfit, RecipeError
from lilift.recipe.load import load_recipe

BIG = Device("cuda", "a big GPU", 80 * GIB, 79 * GIB)


@pytest.fixture
def big_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "find_device", lambda: BIG)


@pytest.mark.usefixtures("big_card")
@pytest.mark.parametrize(("limit", "gib"), [("24gb", 24), ("rtx4060", 8), ("22.5gb", 22.5), ("10 GiB", 10), ("7g", 7)])
def test_a_limit_is_a_card_or_a_size(limit: str, gib: float) -> None:
    limited = limited_card(limit)
    assert limited.total_bytes == gib * GIB
    assert limited.allocatable_bytes < limited.usable_bytes < limited.total_bytes
    assert BIG.name in limited.name


@pytest.mark.usefixtures("big_card")
@pytest.mark.parametrize("limit", ["cpu", "voodoo2", "96gb", "80gb"])
def test_what_is_no_smaller_card_is_refused(limit: str) -> None:
    with pytest.raises(RecipeError, match=r"does not know the card|is more than a big GPU has free"):
        limited_card(limit)


def test_without_a_gpu_there_is_nothing_to_limit() -> None:
    with pytest.raises(EnvironmentUnfit, match="no CUDA GPU"):
        limited_card("8gb")


@pytest.mark.usefixtures("big_card")
def test_the_allocator_is_given_what_the_plan_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", shares.append)
    limited = limited_card("24gb")
    cap_memory(limited.allocatable_bytes, BIG)
    (share,) = shares
    assert share * BIG.total_bytes == pytest.approx(0.98 * 24 * GIB - limited.context_bytes)


def test_a_plan_for_this_machine_is_raised_by_what_it_took_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    recipe = load_recipe("tiny-cpu")
    here = replace(planned_card("24gb"), gpu=BIG.name)
    before = plan_recipe(recipe, card=here, strict=True)
    calibration.record(BIG.name, "transfer", predicted_mib=100, measured_mib=110)
    after = plan_recipe(recipe, card=here, strict=True)
    unseen = before.of("transfer").parts["context"]
    planned, raised = before.of("transfer").peak_bytes - unseen, after.of("transfer").peak_bytes - unseen
    assert planned - before.of("transfer").raised_bytes == pytest.approx(planned / calibration.UNCONFIRMED, rel=1e-6)
    assert raised == pytest.approx(1.1 / calibration.UNCONFIRMED * planned, rel=1e-6)
    assert after.of("align").peak_bytes == before.of("align").peak_bytes
    assert [phase.phase for phase in after.on_card if not phase.confirmed] == ["align", "evaluate"]
    assert calibration.ratio("another card", "transfer") == calibration.UNCONFIRMED  # plans of other cards stay as they are


def test_a_plan_counts_the_workspaces_that_cublas_takes_on_this_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """32 MiB for each thread on a Hopper, an eighth elsewhere (torch: CUDABlas.cpp)."""
    found = {}
    for capability in ((8, 6), (9, 0)):
        monkeypatch.setattr(device, "find_device", lambda capability=capability: replace(BIG, capability=capability))
        phases = [phase_on_card(planned_card("auto"), name, {}, 0, rows=1, row_tokens=1) for name in ("align", "evaluate")]
        found[capability] = [phase.parts["overhead"] - phase.raised_bytes for phase in phases]
    assert found == {(8, 6): [17039360, 8519680], (9, 0): [64 * 2**20, 32 * 2**20]}
