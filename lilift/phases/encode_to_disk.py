"""Encodes a phase's texts to disk before the LLM is loaded (`encoder.placement: cached-disk`).

The encoder and the LLM are never on the card together. The encoder's states stay in the phase's folder until the phase is done.
After an interruption, lilift encodes only the texts whose states are not there yet.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from lilift.data.batches.step_grouping import iterate_steps, survey_steps
from lilift.data.batches.token_cache import TokenCache
from lilift.data.batches.tokenization import Tokenisation
from lilift.data.monolingual_rows import MonolingualRows
from lilift.data.prepared_data import PreparedData
from lilift.data.stage_rows import AlignRows, TransferRows
from lilift.memory.encode_ahead import EncodedRows, encode_ahead
from lilift.model.encoders.encoder_states import EncoderStates, load_encoder_states
from lilift.model.encoders.run_encoder import states_folder, with_encoder_of_run
from lilift.model.llms.llm_tokenizer import load_llm_tokenizer
from lilift.phases.data_tokenizers import tokenisation_of
from lilift.processes.joined_processes import ALONE, Processes
from lilift.recipe.schema import Recipe, StageSettings
from lilift.recipe.storage import remove_partial
from lilift.train.stages import step_plan

STATES = "encoder-states"
StageRows = Callable[[PreparedData, Recipe, Tokenisation], AlignRows | TransferRows | MonolingualRows]


def read_stage(
    recipe: Recipe,
    settings: StageSettings,
    prepared: PreparedData,
    rows_of: StageRows,
    where: Path,
    *,
    cache: TokenCache,
    device: torch.device,
    note: Callable[[str], None],
    processes: Processes = ALONE,
) -> None:
    """Encode every text of a training stage, if the recipe sets `encoder.placement: cached-disk`.

    Several processes share the batches. They are the batches of one process, and so the states have the same bits.

    Args:
        recipe: the recipe of the run.
        settings: the settings of the stage.
        prepared: the prepared data.
        rows_of: makes the stage's rows.
        where: the phase's folder.
        cache: the cache of tokenised texts.
        device: where the encoder computes.
        note: receives lines for the user.
        processes: those that encode together; each calls this.
    """
    if recipe.encoder.placement != "cached-disk":
        return
    states, tokenisation = _reader(recipe, where, device, processes, cache)
    source = rows_of(prepared, recipe, tokenisation)
    plan = step_plan(settings, recipe.seed, tokenisation.shape, has_llm_bos=tokenisation.has_llm_bos)
    steps = survey_steps(source, plan, epochs=settings.epochs, max_steps=settings.max_steps).steps
    note(f"  the encoder reads the texts of {steps:,} steps; its states stay in {where / STATES} until the phase is done")
    encoded = EncodedRows(source, partial(encode_ahead, states, note=note, processes=processes))
    for _ in islice(iterate_steps(encoded, plan), steps):
        pass
    processes.gather(None)  # the states of all are on the disk


def read_questions(
    recipe: Recipe,
    questions: Iterable[tuple[Sequence[str], str]],
    where: Path,
    *,
    device: torch.device,
    note: Callable[[str], None],
    processes: Processes = ALONE,
) -> None:
    """Encode every question of an evaluation, if the recipe sets `cached-disk`.

    Args:
        recipe, where, device, note, processes: as for `read_stage`.
        questions: the questions of each benchmark, and the code of their language.
    """
    if recipe.encoder.placement != "cached-disk":
        return
    states, tokenisation = _reader(recipe, where, device, processes)
    for some, language in questions:
        encode_ahead(states, tokenisation.prompts(some, language), note, processes=processes)
    processes.gather(None)


def forget_states(where: Path) -> None:
    """Delete the encoder states of a finished phase."""
    shutil.rmtree(where / STATES, ignore_errors=True)


def _reader(
    recipe: Recipe, where: Path, device: torch.device, processes: Processes, cache: TokenCache | None = None
) -> tuple[EncoderStates, Tokenisation]:
    """The encoder with the states that exist, and the tokenisation of a bridge, without loading the LLM."""
    processes.from_first(lambda: remove_partial(where / STATES))
    encoder, folder = with_encoder_of_run(recipe, where.parent).encoder, states_folder(recipe, where.parent, where / STATES)
    states = load_encoder_states(encoder, device=device, folder=folder, layers=recipe.alignment.layers)
    processes.gather(None)  # all see the same states, before the first of them writes more
    return states, tokenisation_of(recipe, where.parent, states.encoder.tokenizer, load_llm_tokenizer(recipe.llm), cache)
