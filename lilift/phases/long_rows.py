"""How many rows are too long for a recipe's limits: before any stage begins, and when a stage begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lilift.data.batches.tokenization import Limits, Tokenisation
from lilift.data.losses import warnings_of_lengths
from lilift.data.monolingual_rows import MonolingualRows
from lilift.data.prepared_data import PreparedData
from lilift.data.stage_rows import AlignRows, TransferRows, align_rows, transfer_rows
from lilift.model.encoders.encoder_tokenizer import EncoderTokenizer
from lilift.model.encoders.expected_prefix import missing_prefix
from lilift.model.encoders.source_languages import missing_languages
from lilift.model.snapshot import local_model_folder
from lilift.recipe import storage
from lilift.recipe.errors import DataError
from lilift.recipe.schema import Recipe

ROWS = "rows.json"
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


def count_rows(
    recipe: Recipe,
    where: Path,
    rows: AlignRows | TransferRows | MonolingualRows,
    encoder: EncoderTokenizer,
    say: Callable[[str], None],
) -> None:
    """Print and record how the length limits change the rows of the first epoch, before training begins."""
    kept = where / ROWS
    if kept.exists():
        return
    lengths = rows.lengths()
    cut = lengths.truncated_source + lengths.truncated_response
    dropped = lengths.dropped_source + lengths.dropped_sequence
    source = f"longest source {lengths.longest_source} tokens, " if recipe.has_encoder else ""
    say(
        f"  kept {lengths.kept:,} of {lengths.read:,} rows; dropped {dropped:,} and cut {cut:,} that are too long; "
        f"{source}longest sequence {lengths.longest_sequence} tokens"
    )
    limits = (recipe.encoder.max_tokens, recipe.data.max_tokens)
    for line in warnings_of_lengths(where.name, lengths.as_dict(), limits, recipe.data.over_length):
        say(f"  {line}")
    for line in missing_languages(encoder.source_languages, recipe.languages):
        say(f"  {line}")
    if recipe.has_encoder:
        prefix = missing_prefix(recipe.encoder, local_model_folder(recipe.encoder.model, recipe.encoder.revision))
        if prefix is not None:
            say(f"  {prefix}")
    unreadable = rows.unreadable()
    for script, share in unreadable.items():
        say(f"  the encoder does not know {share:.1%} of the tokens in {script} script: it reads <unk> instead")
    flattened = rows.flattened()
    if flattened:
        say(f"  {flattened:,} texts have line breaks, which the encoder's tokenizer reads as spaces")
    storage.write_json(kept, lengths.as_dict() | {"unreadable": unreadable, "flattened": flattened})
