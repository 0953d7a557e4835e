"""The bridge goes through both kernels: nothing is concatenated, and no logits are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lilift.data.texts.examples import Row
from lilift.model.bridge import BridgedModel


class Operations(TorchDispatchMode):
    """The operations on floating-point numbers that run while it is active, and the shapes of what they return."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.shapes: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        found = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
        if found:
            self.names.add(func.name().partition(".")[0])
        self.shapes |= {tuple(leaf.shape) for leaf in found}
        return result


def test_the_sequence_is_assembled_without_a_copy_and_the_loss_without_logits(
    bridge_of: Callable[..., BridgedModel], rows_of: Callable[[BridgedModel], list[Row]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = bridge_of()
    batch = bridge.collate(rows_of(bridge))
    states = bridge.encoder(batch.encoder_ids, batch.encoder_mask)
    monkeypatch.setattr(bridge.encoder, "forward", lambda *_: states)
    with Operations() as assembly:
        bridge.embed(batch)
    assert "lilift_kernels::project_into" in assembly.names
    copies = {"aten::cat", "aten::stack", "aten::constant_pad_nd", "aten::index_put", "aten::index_put_", "aten::repeat"}
    assert not copies & assembly.names
    with Operations() as whole:
        bridge.loss(batch).backward()  # type: ignore[no-untyped-call]
    assert "lilift_kernels::linear_cross_entropy" in whole.names
    vocabulary = bridge.causal_lm.get_input_embeddings().num_embeddings
    assert not [shape for shape in whole.shapes if len(shape) > 1 and shape[-1] == vocabulary]
