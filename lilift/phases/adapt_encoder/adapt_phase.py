"""Does the work of the phase `adapt`: the encoder reads running text in the languages that it does not know."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import torch

from lilift.data.adaptation_rows import tokens_of_adaptation
from lilift.data.prepared_data import PreparedData
from lilift.data.texts.monolingual import Document
from lilift.phases.run_folder import phase_fingerprint
from lilift.recipe import storage
from lilift.recipe.schema import Recipe
from lilift.train.adaptation.adapt_encoder import ADAPTATION, adapt_encoder
from lilift.train.tracking.sinks import tracker_for
from lilift.train.training_progress import StageProgress

_TOKENS_OF_TEXT = 8
"""The fewest tokens of a text, so that enough texts are read from the instructions."""


def adapt(
    recipe: Recipe,
    prepared: PreparedData,
    where: Path,
    *,
    device: torch.device,
    progress: StageProgress,
    predicted_mib: float | None,
    say: Callable[[str], None],
) -> None:
    """Adapt the recipe's encoder and write it and what it reached to the folder of the phase.

    Raises:
        LiliftError: see `adapt_encoder`.
    """
    settings = recipe.encoder.adapt
    assert settings is not None
    enough = max(1, tokens_of_adaptation(settings) // _TOKENS_OF_TEXT)
    english = [example.question for example in islice(prepared.examples, enough)]
    tracker = tracker_for(recipe, where, progress.note)
    try:
        result = adapt_encoder(
            recipe.encoder,
            {code: _lines(documents) for code, documents in prepared.monolingual.items()},
            english,
            where,
            fingerprint=phase_fingerprint(recipe, "adapt"),
            seed=recipe.seed,
            device=device,
            progress=progress,
            predicted_mib=predicted_mib,
            tracker=tracker,
        )
    finally:
        if tracker is not None:
            tracker.close()
    storage.write_json(where / ADAPTATION, asdict(result))
    for line in result.lines():
        say(f"  {line}")


def _lines(documents: Iterable[Document]) -> list[str]:
    return [line for document in documents for line in document]
