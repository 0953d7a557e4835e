"""Checkpoints that wait in host memory: the same gradients, and nothing of a layer stays behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lilift.data.texts.examples import Row
from lilift.model import bridge as bridge_module
from lilift.model.bridge import BridgedModel
from lilift.model.llms import offloaded_checkpoints
from lilift.model.llms.offloaded_checkpoints import OffloadedCheckpoints, Waiting


def gradients(bridge: BridgedModel, rows: list[Row]) -> dict[str, Tensor]:
    bridge.train_only("alignment")
    bridge.train()
    bridge.loss(bridge.collate(rows)).backward()  # type: ignore[no-untyped-call]
    return {name: weight.grad for name, weight in bridge.named_parameters() if weight.grad is not None}


class Copied(OffloadedCheckpoints):
    """As on a card, on a machine where everything is on the CPU already: tensors that are away are NaN."""

    moved: list[torch.Size]
    most = 0

    def _leaves(self, tensor: Tensor) -> bool:  # noqa: ARG002
        return True

    def _send(self, tensor: Tensor) -> Any:
        self.moved.append(tensor.shape)
        return tensor.clone()

    def _fetch(self, waiting: Waiting) -> tuple[Tensor, Any]:
        back = torch.full_like(waiting.away, torch.nan)
        return back, waiting.away

    def _await(self, tensor: Tensor, copied: Any) -> None:
        tensor.copy_(copied)
        Copied.most = max(Copied.most, 1 + sum(waiting.back is not None for waiting in self._sent))


def test_gradients_are_those_of_checkpoints_that_stay(
    bridge_of: Callable[..., BridgedModel], rows_of: Callable[..., list[Row]], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = bridge_of(llm_settings={"gradient_checkpointing": True})
    offloaded = bridge_of(llm_settings={"gradient_checkpointing": "offload"})
    offloaded.load_state_dict(kept.state_dict())
    Copied.moved, Copied.most = [], 0
    monkeypatch.setattr(bridge_module, "OffloadedCheckpoints", Copied)
    monkeypatch.setattr(offloaded_checkpoints, "LEAST_BYTES", 1)
    rows = rows_of(kept)
    expected, found = gradients(kept, rows), gradients(offloaded, rows)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], gradient) for name, gradient in expected.items())
    hidden: Any = offloaded.embed(offloaded.collate(rows))[0].shape
    layers = offloaded.causal_lm.config.num_hidden_layers
    assert Copied.moved.count(hidden) >= layers
    assert Copied.most <= 2, "a checkpoint, and the one before it on its way"


def test_small_tensors_and_parameters_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    Copied.moved = []
    monkeypatch.setattr(offloaded_checkpoints, "LEAST_BYTES", 100)
    weight, small, large = nn.Parameter(torch.ones(50)), torch.ones(2), torch.ones(50).requires_grad_()
    with Copied():
        out = (large * weight).square() * small.sum()
    assert Copied.moved == [torch.Size([50]), torch.Size([50])], "`large` and the product"
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert torch.equal(large.grad, torch.full((50,), 4.0))


def test_answers_are_given_without_it(bridge_of: Callable[..., BridgedModel], monkeypatch: pytest.MonkeyPatch) -> None:
    bridge = bridge_of(llm_settings={"gradient_checkpointing": "offload"})
    monkeypatch.setattr(bridge_module, "OffloadedCheckpoints", None)  # would fail if it was called
    assert len(bridge.generate([Row((5, 1), (3,), ())], max_new_tokens=3)) == 1
