"""`alignment.pool` and `alignment.scale_states`: what becomes of encoder states before the layer projects them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional

from lilift.data.batches.batching import SequenceShape
from lilift.data.texts.examples import Row
from lilift.export.runner import soft_tokens
from lilift.model.alignment_layer import WHOLE_TEXT, build_alignment
from lilift.model.bridge import BridgedModel
from lilift.model.encoder_windows import window_means
from lilift.model.pooling import pooled_soft_tokens
from lilift.recipe.load import fingerprint
from lilift.recipe.schema import AlignmentSettings

ROWS = [Row((5, 6, 7, 8, 9, 10, 1), (8,), (9, 1)), Row((10, 11, 1), (8,), (12, 1))]


@pytest.mark.parametrize(
    ("length", "pool", "sizes"),
    [(7, 3, [3, 2, 2]), (7, 2, [2, 2, 2, 1]), (3, 3, [3]), (1, 4, [1]), (9, WHOLE_TEXT, [9]), (4, 1, [1, 1, 1, 1])],
)
def test_windows_are_as_equal_as_they_can_be(length: int, pool: int, sizes: list[int]) -> None:
    states = torch.arange(length, dtype=torch.float32)[:, None] + torch.tensor([0.0, 100.0])
    starts = np.cumsum([0, *sizes[:-1]])
    wanted = torch.stack([states[start : start + size].mean(0) for start, size in zip(starts, sizes, strict=True)])
    padded = torch.nn.functional.pad(states, (0, 0, 0, 2), value=1e9)[None]
    mask = torch.arange(length + 2)[None] < length
    shape = SequenceShape(has_bos=True, has_eos=True, latents=None, pool=pool)
    found = window_means(padded, mask, torch.arange(length), shape.windows(mask.sum(1)), count=len(sizes))
    torch.testing.assert_close(found, wanted)
    np.testing.assert_allclose(soft_tokens.window_means(states.numpy(), pool), wanted.numpy())


@pytest.mark.parametrize("kind", ["ffn", "linear"])
@pytest.mark.parametrize("pool", [2, "text"])
def test_a_row_gives_the_soft_tokens_of_its_windows_alone_and_in_a_batch(
    kind: str, pool: int | str, bridge_of: Callable[..., BridgedModel]
) -> None:
    bridge = bridge_of("llama", "xlmr", alignment={"kind": kind, "pool": pool})
    plain = bridge_of("llama", "xlmr", alignment={"kind": kind})
    plain.alignment.load_state_dict(bridge.alignment.state_dict())
    for rows in (ROWS, ROWS[:1], ROWS[1:]):
        batch = bridge.collate(rows)
        soft = [bridge.alignment.shape.soft_length(len(row.encoder_ids)) for row in rows]
        assert batch.state_slots.shape[0] == sum(soft)
        assert [int(length) for length in batch.mask.sum(1)] == [bridge.packed_length(row) for row in rows]
        states = bridge.encoder(batch.encoder_ids, batch.encoder_mask)
        means = [part.mean(0) for row, count in enumerate(soft) for part in _split(states[row], batch.encoder_mask[row], count)]
        wanted = plain.alignment(
            torch.stack(means)[None], torch.ones(1, len(means), dtype=torch.bool), torch.arange(len(means))
        )
        found, _, _ = bridge.embed(batch)
        torch.testing.assert_close(found.flatten(0, 1)[batch.state_slots], wanted)
        torch.testing.assert_close(bridge.alignment(states, batch.encoder_mask, batch.state_rows), wanted)
    bridge.train_only("alignment")
    bridge.loss(bridge.collate(ROWS)).backward()
    assert bridge.alignment.output.weight.grad.abs().max() > 0  # type: ignore[union-attr]


def test_the_mean_of_a_text_is_that_of_its_windows(bridge_of: Callable[..., BridgedModel]) -> None:
    bridge = bridge_of("llama", "xlmr", alignment={"pool": "text"})
    ids = bridge.encoder.tokenizer.encode("mary has apples")
    batch = bridge.collate([Row(tuple(ids), (8,), (9,))])
    wanted = bridge.alignment(bridge.encoder(batch.encoder_ids, batch.encoder_mask), batch.encoder_mask, batch.state_rows)
    torch.testing.assert_close(pooled_soft_tokens(bridge, ["mary has apples"]), wanted)


@pytest.mark.parametrize("kind", ["ffn", "latent"])
def test_a_layer_that_scales_states_does_not_depend_on_their_size(kind: str) -> None:
    settings = AlignmentSettings(kind=kind, scale_states=True)  # type: ignore[arg-type]
    layer = build_alignment(settings, encoder_size=16, llm_size=8, seed=0)
    states, mask = torch.randn(1, 5, 16), torch.tensor([[True, True, True, False, False]])
    states = states * mask[..., None]
    rows = torch.arange(3)
    torch.testing.assert_close(layer(states, mask, rows), layer(4 * states, mask, rows), atol=1e-4, rtol=1e-4)
    unit = functional.rms_norm(states, (16,))
    plain = build_alignment(AlignmentSettings(kind=kind), encoder_size=16, llm_size=8, seed=0)  # type: ignore[arg-type]
    torch.testing.assert_close(layer(states, mask, rows), plain(unit, mask, rows), atol=1e-4, rtol=1e-4)


def test_a_recipe_without_windows_keeps_its_fingerprint() -> None:
    assert "pool" not in AlignmentSettings().model_dump()
    assert fingerprint(AlignmentSettings(pool="text").model_dump()) != fingerprint(AlignmentSettings().model_dump())


def _split(states: torch.Tensor, mask: torch.Tensor, count: int) -> list[torch.Tensor]:
    real = states[mask]
    return [real[torch.arange(len(real)) * count // len(real) == window] for window in range(count)]
