"""What stage 1 has done to a run's alignment, measured on parallel sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lilift.data.texts.parallel_sentences import parallel_sentences
from lilift.evaluate.retrieval import AlignmentQuality, alignment_quality
from lilift.model.assemble_bridge import load_bridge
from lilift.model.bridge_files import load_part
from lilift.model.pooling import pooled_soft_tokens
from lilift.phases.answering.systems import check_trained_part
from lilift.recipe.errors import DataError
from lilift.recipe.schema import Recipe


def measure_alignment(
    recipe: Recipe,
    run: Path,
    source: str,
    *,
    languages: Sequence[str],
    limit: int | None,
    device: torch.device,
) -> AlignmentQuality:
    """Measure retrieval with the run's alignment layer as it started and as stage 1 left it.

    Raises:
        DataError: the sentences cannot be had.
        RunFolderError: stage 1 is not finished, or its result is damaged.
        ModelError: a model cannot be loaded.
    """
    others = [code for code in dict.fromkeys(languages) if code != "en"]
    if not others:
        raise DataError("no language is named beside English", where="languages", remedy="name at least one")
    sentences = parallel_sentences(source, ["en", *others], limit=limit, seed=recipe.seed)
    if recipe.trained_by("alignment") != "align":
        raise DataError("stage 1 of this run trains no alignment layer that could be measured", where=run)
    part = run / "align" / "alignment"
    check_trained_part(part)
    bridge = load_bridge(recipe, device=device)

    def vectors(texts: Sequence[str]) -> Tensor:
        return pooled_soft_tokens(
            bridge, texts, max_tokens=recipe.encoder.max_tokens, batch_tokens=recipe.evaluate.tokens_per_batch
        )

    def after(texts: Sequence[str]) -> Tensor:
        load_part(bridge, "alignment", part)
        return vectors(texts)

    return alignment_quality(sentences, source, before=vectors, after=after)
