"""Blocks for the loss's Triton kernels with which small cases cross every boundary."""

from __future__ import annotations

import pytest


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two chunks of rows, three tiles of the vocabulary, several blocks of each, of sizes that differ between the products."""
    from lilift_kernels.loss import loss_triton as triton_loss
    from lilift_kernels.tiles import Blocks, LossPlan

    plan = LossPlan(64, 128, Blocks(16, 64, 32, 4, 2), Blocks(32, 32, 64, 4, 2))
    monkeypatch.setattr(triton_loss, "loss_plan", lambda *_, **__: plan)
