"""A bridge's weights, and one step of training on it."""

from __future__ import annotations

import torch

from lilift.data.texts.examples import Row
from lilift.model.bridge import BridgedModel


def weights_of(bridge: BridgedModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in bridge.state_dict().items() if isinstance(value, torch.Tensor)}


def train_one_step(bridge: BridgedModel, rows: list[Row]) -> None:
    bridge.train()
    learning = [parameter for parameter in bridge.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=0.1, weight_decay=0.0)
    bridge.loss(bridge.collate(rows)).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
