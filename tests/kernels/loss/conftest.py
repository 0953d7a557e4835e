"""A cut for the loss's Triton kernels with which small cases cross every boundary."""

from __future__ import annotations

import pytest


@pytest.fixture
def small_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two chunks of rows, and three slices of the vocabulary, the last of which is narrow."""
    from lilift_kernels.loss import loss_triton as triton_loss
    from lilift_kernels.tiles import LossCut

    monkeypatch.setattr(triton_loss, "loss_cut", lambda *_, **__: LossCut(40, 128))
