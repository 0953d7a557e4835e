"""How many rows are too long for a recipe's limits, measured with the tokenizers alone before any stage begins."""

from __future__ import annotations

from lilift.data.batches.tokenization import Limits, Tokenisation
from lilift.data.losses import warnings_of_lengths
from lilift.data.prepared_data import PreparedData
from lilift.data.stage_rows import align_rows, transfer_rows
from lilift.recipe.errors import DataError
from lilift.recipe.schema import Recipe

_MEASURED = 2000
"""Rows of a stage that are measured, spread evenly over it: enough to tell 5% from 4%."""


def warnings_of_long_rows(recipe: Recipe, tokenisation: Tokenisation, prepared: PreparedData) -> list[str]:
    """A warning for each stage and limit that more than 5% of the rows exceed."""
    limits, policy = tokenisation.limits, recipe.data.over_length
    tokenisation.limits = Limits(limits.source, limits.sequence, "drop")  # counts what other policies cut or refuse
    warnings = []
    for stage in recipe.stages:
        if stage == "align" and recipe.uses_monolingual:  # lilift cuts this text into rows that fit
            continue
        rows = (align_rows if stage == "align" else transfer_rows)(prepared, recipe, tokenisation)
        try:
            lengths = rows.lengths(at_most=_MEASURED).as_dict()
        except DataError:  # a row that the stage refuses with a better message
            continue
        warnings += warnings_of_lengths(stage, lengths, (limits.source, limits.sequence), policy)
    return warnings
