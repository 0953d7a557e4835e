"""One vector a text, whatever is read beside it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lilift.model.bridge import BridgedModel
from lilift.model.pooling import pooled_soft_tokens

TEXTS = ["mary", "mary has apples and buys more", "how many does she have now", "the of in"]


@pytest.mark.parametrize("kind", ["ffn", "latent"])
def test_a_text_is_the_mean_of_its_own_soft_tokens(bridge_of: Callable[..., BridgedModel], kind: str) -> None:
    bridge = bridge_of(alignment={"kind": kind, "latents": 3})
    together = pooled_soft_tokens(bridge, TEXTS)
    for size in (1, 12):
        torch.testing.assert_close(pooled_soft_tokens(bridge, TEXTS, batch_tokens=size), together, rtol=1e-5, atol=1e-5)
    ids = torch.tensor([bridge.encoder.tokenizer.encode(TEXTS[1])])
    mask = torch.ones_like(ids, dtype=torch.bool)
    with torch.no_grad():
        soft = bridge.alignment(bridge.encoder(ids, mask), mask, torch.arange(ids.shape[1]))
    torch.testing.assert_close(together[1], soft.mean(0), rtol=1e-5, atol=1e-5)


def test_a_text_that_is_too_long_is_cut(bridge_of: Callable[..., BridgedModel]) -> None:
    bridge = bridge_of()
    long, longer = "mary has apples " * 5, "mary has apples " * 9
    assert torch.equal(pooled_soft_tokens(bridge, [long], max_tokens=6), pooled_soft_tokens(bridge, [longer], max_tokens=6))
