"""Checkpoints that wait in host memory: the same gradients, and nothing of a layer stays behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from lilift.data.texts.examples import Row
from lilift.model import bridge as bridge_module
from lilift.model.bridge import BridgedModel


def gradients(bridge: BridgedModel, rows: list[Row]) -> dict[str, Tensor]:
    bridge.train_only("alignment")
    bridge.train()
    bridge.loss(bridge.collate(rows)).backward()  # type: ignore[no-untyped-call]
    return {name: weight.grad for name, weight in bridge.named_parameters() if weight.grad is not None}


def test_gradients_are_those_of_checkpoints_that_stay(
    bridge_of: Callable[..., BridgedModel], rows_of: Callable[..., list[Row]], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = bridge_of(llm_settings={"gradient_checkpointing": True})
    offloaded = bridge_of(llm_settings={"gradient_checkpointing": "offload"})
    offloaded.load_state_dict(kept.state_dict())
    moved: list[torch.Size] = []

    class Counting(saved_tensors_hooks):
        """As torch's `save_on_cpu`, on a machine where everything is on the CPU already."""

        def __init__(self, *, pin_memory: bool) -> None:
            assert pin_memory
            super().__init__(self.away, lambda tensor: tensor.clone())  # type: ignore[no-untyped-call]

        def away(self, tensor: Tensor) -> Tensor:
            moved.append(tensor.shape)
            return tensor.clone()

    monkeypatch.setattr(bridge_module, "save_on_cpu", Counting)
    rows = rows_of(kept)
    expected, found = gradients(kept, rows), gradients(offloaded, rows)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], gradient) for name, gradient in expected.items())
    hidden: Any = offloaded.embed(offloaded.collate(rows))[0].shape
    layers = offloaded.causal_lm.config.num_hidden_layers
    assert moved.count(hidden) >= layers


def test_answers_are_given_without_it(bridge_of: Callable[..., BridgedModel], monkeypatch: pytest.MonkeyPatch) -> None:
    bridge = bridge_of(llm_settings={"gradient_checkpointing": "offload"})
    monkeypatch.setattr(bridge_module, "save_on_cpu", None)  # would fail if it was called
    assert len(bridge.generate([Row((5, 1), (3,), ())], max_new_tokens=3)) == 1
