"""Predicts the host memory of an export, which merges the weights, and then compares them with the model of the run."""

from __future__ import annotations

import math
from collections.abc import Mapping

from lilift.memory.footprint import Footprint
from lilift.memory.phase_plan import HEAP_BYTES, LEAST_OVERHEAD, PhasePlan
from lilift.memory.planned_card import CPU_PROCESS_BYTES, GIB
from lilift.memory.simulation.simulate import Models
from lilift.recipe.schema import Recipe

SHARD_BYTES = 2 * GIB
# Reading a weight holds its float32 chunks, the whole of them, and the weight in another precision.
COPIES_OF_WEIGHT = 3
# The comparison of two models holds the log-probabilities of both, and three tensors of that size for their divergence.
COMPARED_TOKENS, COPIES_OF_LOGITS = 1024, 5


def export_plan(
    recipe: Recipe, models: Models, footprint: Footprint, *, model: Mapping[str, int], loading: Mapping[str, int]
) -> PhasePlan:
    """The plan of the export: the larger of its two halves.

    The first half merges tensor by tensor, with one shard and copies of the largest weight. The second half
    (`lilift.phases.export_check`) loads the model of the run, on the card if there is one, and keeps log-probabilities in host
    memory.

    Args:
        recipe: the recipe.
        models: configurations of the LLM and the encoder.
        footprint: the size of the merged weights and of the largest one.
        model: bytes by category of the model of the run in host memory; empty if it is on a card.
        loading: the same while the model loads.
    """
    weight = footprint.largest_weight * 4 * COPIES_OF_WEIGHT
    halves = [{"llm": min(footprint.merged_bytes, SHARD_BYTES) + weight}]
    if recipe.export.drift:
        vocabulary = models[0].get_text_config().vocab_size
        compared = COMPARED_TOKENS * vocabulary * 4 * COPIES_OF_LOGITS
        halves += [{**model, "temporaries": weight + compared}, dict(loading)]
    parts = max(halves, key=lambda parts: sum(parts.values()))
    overhead = math.ceil(HEAP_BYTES * bool(model) + LEAST_OVERHEAD * sum(parts.values()))
    return PhasePlan("export", {"context": CPU_PROCESS_BYTES, **parts, "overhead": overhead})
