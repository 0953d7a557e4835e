"""Measures on parallel sentences how stage 1 changed the alignment of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

import torch
from torch import Tensor

from lilift.data.texts.parallel_sentences import parallel_sentences
from lilift.data.world import WORLD_LANGUAGES
from lilift.evaluate.retrieval import ALIGNMENT_QUALITY, AlignmentQuality, alignment_quality
from lilift.model.assemble_bridge import load_bridge
from lilift.model.bridge_files import load_part
from lilift.model.encoders.run_encoder import with_encoder_of_run
from lilift.model.pooling import pooled_soft_tokens
from lilift.phases.answering.systems import check_trained_part
from lilift.recipe import storage
from lilift.recipe.errors import DataError, LiliftError
from lilift.recipe.schema import Recipe

_SECONDS_BETWEEN_LINES = 10.0


def measure_alignment(
    recipe: Recipe,
    run: Path,
    source: str,
    *,
    languages: Sequence[str],
    limit: int | None,
    device: torch.device,
    say: Callable[[str], None] | None = None,
) -> AlignmentQuality:
    """Measure retrieval with the run's alignment layer as it started and as stage 1 left it.

    Args:
        recipe, run: the run, and its recipe.
        source: where the parallel sentences come from.
        languages: codes of the languages to compare with English.
        limit: read only this many sentences.
        device: computes the vectors.
        say: receives a line when lilift begins to read, and every few seconds after that.

    Raises:
        DataError: the sentences cannot be read, or stage 1 trains no alignment layer.
        RunFolderError: stage 1 is not finished, or its result is damaged.
        ModelError: a model cannot be loaded.
    """
    others = [code for code in dict.fromkeys(languages) if code != "en"]
    if not others:
        raise DataError("the only language is English", where="languages", remedy="name at least one more")
    sentences = parallel_sentences(source, ["en", *others], limit=limit, seed=recipe.seed, setting="--sentences")
    if recipe.trained_by("alignment") != "align":
        raise DataError(
            "stage 1 of this run does not train the alignment layer, so lilift has nothing to measure",
            where=run,
            remedy="give a run whose stage 1 trains it",
        )
    part = run / "align" / "alignment"
    check_trained_part(part)
    bridge = load_bridge(with_encoder_of_run(recipe, run), device=device)

    def vectors(texts: Sequence[str], codes: Sequence[str], when: str) -> Tensor:
        return pooled_soft_tokens(
            bridge,
            texts,
            languages=codes,
            max_tokens=recipe.encoder.max_tokens,
            batch_tokens=recipe.evaluate.tokens_per_batch,
            progress=None if say is None else _Reading(when, len(texts), say).show,
        )

    def before(texts: Sequence[str], codes: Sequence[str]) -> Tensor:
        return vectors(texts, codes, "before")

    def after(texts: Sequence[str], codes: Sequence[str]) -> Tensor:
        load_part(bridge, "alignment", part)
        return vectors(texts, codes, "after")

    readers = {code: bridge.encoder.tokenizer.in_language(code) for code in sentences}
    cut = sum(
        len(readers[code].encode(text)) > recipe.encoder.max_tokens for code, texts in sentences.items() for text in texts
    )
    return alignment_quality(sentences, source, before=before, after=after, cut=cut)


class _Reading:
    """Says how many sentences the encoder has read: at once, then every few seconds."""

    def __init__(self, when: str, total: int, say: Callable[[str], None]) -> None:
        self._when, self._total, self._say = when, total, say
        self._next = monotonic() + _SECONDS_BETWEEN_LINES
        say(f"  {when} stage 1: reads {total:,} sentences in all languages")

    def show(self, done: int) -> None:
        now = monotonic()
        if now >= self._next:
            self._next = now + _SECONDS_BETWEEN_LINES
            self._say(f"  {self._when} stage 1: {done:,} of {self._total:,} sentences read")


def record_alignment(recipe: Recipe, run: Path, where: Path, *, device: torch.device, say: Callable[[str], None]) -> None:
    """Measure the alignment for a run's evaluation, as `evaluate.alignment` wants it, and keep it in the phase's folder.

    A failure is one line and no error: a measurement must not stop a run that has trained, because its answers come next.

    Args:
        recipe, run: the run, and its recipe.
        where: the folder of the evaluation.
        device: computes the vectors.
        say: receives what the user should know.
    """
    source, languages = recipe.evaluate.alignment, recipe.languages
    if source is None:
        return
    if source == "world":  # it knows a few languages, and the recipe may have others
        languages = tuple(code for code in languages if code in WORLD_LANGUAGES)
    if not languages:
        say(
            "  lilift does not measure the alignment: it generates no sentences in the languages of this recipe; set "
            "`evaluate.alignment: none`, or a folder with FLORES or SIB-200 files"
        )
        return
    try:
        found = measure_alignment(recipe, run, source, languages=languages, limit=None, device=device)
    except Exception as error:
        reason = error.line() if isinstance(error, LiliftError) else f"{type(error).__name__}: {error}"
        say(f"  lilift could not measure the alignment: {reason}")
        return
    storage.write_json(where / ALIGNMENT_QUALITY, found.as_dict())
    say(
        f"  the nearest neighbour of a sentence is its translation: {found.before:.0%} before stage 1, {found.after:.0%} after "
        f"it (chance {1 / found.sentences:.1%})"
    )
    for line in found.remarks():
        say(f"  {line}")
