"""The evaluation as the memory plan runs it: the prompts of the largest batch, new rows coming in, and their last tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lilift.data.texts.examples import Row
from lilift.memory.simulation.allocation_trace import MemoryTrace
from lilift.memory.simulation.simulate import Rehearsal
from lilift.model.assemble_bridge import attach_lora
from lilift.model.bridge import BridgedModel
from lilift.model.decoding.generation import Continuer, _Place, _SideBySide
from lilift.model.decoding.key_value_cache import BLOCK, KeyValueCache
from lilift.recipe.schema import Recipe

KV_CACHE = "kv_cache"
REFILL_SHARE = 4  # so many rows at most are taken to end together and be replaced by others


def rehearsal(rows: Sequence[Row]) -> Rehearsal:
    """Generation for `rows`, of which the responses are the room for answers."""
    return Rehearsal("evaluate", _prepare, _answer, rows)


def _prepare(bridge: BridgedModel, recipe: Recipe) -> None:
    if recipe.trained_by("adapter") is not None:
        attach_lora(bridge, recipe.transfer.lora)
    bridge.requires_grad_(False)


class _Blind(Continuer):
    """Continues rows without looking at what the LLM says, since there is nothing to look at."""

    def _choose(self, logits: Tensor, rows: _SideBySide) -> None:
        logits.argmax(-1)
        for place in rows.places:
            place.ids.append(0)


@torch.no_grad()
def _answer(bridge: BridgedModel, rows: Sequence[Row], trace: MemoryTrace) -> None:
    bridge.eval()
    longest = max(len(row.response_ids) for row in rows)
    continuer = _Blind(bridge.causal_lm, stop=bridge.tokens.stop, max_new_tokens=longest, budget=0)
    side_by_side = _prefill(bridge, continuer, rows, trace)
    trace.enter("answers")
    for answered in (longest - 1 - BLOCK, longest - 1):  # the cache as it is when it grows for the last time, and after that
        if answered > 0:
            for layer in side_by_side.cache.layers:
                layer.columns = layer.keys.shape[2]
            for place in side_by_side.places:
                place.ids = [0] * answered
            side_by_side.rebuild()
            _label(side_by_side.cache, trace)
    continuer._step(side_by_side)
    trace.begin_part("new rows")
    # The places of rows that have ended are still there while the prompts of their successors are read.
    _prefill(bridge, continuer, rows[: max(1, len(rows) // REFILL_SHARE)], trace)


def _prefill(bridge: BridgedModel, continuer: Continuer, rows: Sequence[Row], trace: MemoryTrace) -> _SideBySide:
    prompts = [Row(row.encoder_ids, row.prompt_ids, ()) for row in rows]
    embedded = bridge.embed(bridge.collate(prompts, left_pad=True))
    width = embedded[1].shape[1]
    side_by_side = continuer._prefill(embedded, [_Place(index, width, None) for index in range(len(rows))])
    _label(side_by_side.cache, trace)
    return side_by_side


def _label(cache: KeyValueCache, trace: MemoryTrace) -> None:
    for layer in cache.layers:
        trace.add(layer.keys, KV_CACHE)
        trace.add(layer.values, KV_CACHE)
