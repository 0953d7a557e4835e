"""The evaluation phase as the memory plan simulates it: the largest batch, its last tokens, and the new rows that join it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from lilift.data.texts.examples import Row
from lilift.memory.simulation.allocation_trace import MemoryTrace
from lilift.memory.simulation.simulate import Rehearsal
from lilift.model.assemble_bridge import attach_lora
from lilift.model.bridge import BridgedModel
from lilift.model.decoding.dequantised_weights import dequantise, dequantised
from lilift.model.decoding.generation import Continuer, _Place, _SideBySide
from lilift.model.decoding.key_value_cache import BLOCK, KeyValueCache
from lilift.recipe.schema import Recipe

KV_CACHE = "kv_cache"
REFILL_SHARE = 4  # the plan assumes that at most 1 in 4 rows ends at the same time and makes room for a new row


def rehearsal(rows: Sequence[Row], *, dequantises: bool = False) -> Rehearsal:
    """The rehearsal of generation for `rows`; the length of each row's response is the room for its answer.

    With `dequantises`, the LLM's 4-bit weights are dequantised first.
    """
    return Rehearsal("evaluate", _prepare, partial(_answer, dequantises=dequantises), rows)


def _prepare(bridge: BridgedModel, recipe: Recipe) -> None:
    if recipe.trained_by("adapter") is not None:
        attach_lora(bridge, recipe.transfer.lora)
    bridge.requires_grad_(False)


class _Blind(Continuer):
    """Continues rows without reading the logits: a rehearsal has shapes and no values."""

    def _choose(self, logits: Tensor, rows: _SideBySide) -> None:
        logits.argmax(-1)
        for place in rows.places:
            place.ids.append(0)


@torch.no_grad()
def _answer(bridge: BridgedModel, rows: Sequence[Row], trace: MemoryTrace, *, dequantises: bool) -> None:
    bridge.eval()
    if dequantises:
        dequantise(bridge.causal_lm)
        for weight in dequantised(bridge.causal_lm):
            trace.add(weight, "llm")
    longest = max(len(row.response_ids) for row in rows)
    continuer = _Blind(bridge.causal_lm, stop=bridge.tokens.stop, max_new_tokens=longest, budget=0)
    side_by_side = _prefill(bridge, continuer, rows, trace)
    trace.enter("answers")
    for answered in (longest - 1 - BLOCK, longest - 1):  # the cache before and after it grows for the last time
        if answered > 0:
            for layer in side_by_side.cache.layers:
                layer.columns = layer.keys.shape[2]
            for place in side_by_side.places:
                place.ids = [0] * answered
            side_by_side.rebuild()
            _label(side_by_side.cache, trace)
    continuer._step(side_by_side)
    trace.begin_part("new rows")
    # The cache still holds the rows that have ended while the LLM reads the prompts of the rows that replace them.
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
