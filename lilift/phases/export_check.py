"""Measures how much a run's export differs from the run, on the run's own questions and answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from lilift.data.batches.tokenization import Tokenisation
from lilift.data.prepared_data import load_prepared
from lilift.data.texts.examples import Row, Task
from lilift.evaluate.evaluator import LIFTED
from lilift.export.drift import Candidate, Drift, measure_drift
from lilift.export.job import RunParts
from lilift.export.merge import MergedWeights
from lilift.memory.guard import is_out_of_memory
from lilift.model.snapshot import local_model_folder
from lilift.phases.answering.systems import load_system, tokenisation_for
from lilift.recipe.schema import ExportSettings, Recipe
from lilift.recipe.storage import JsonLines

TEXTS = 32
MERGE_BASES = ("dequantised", "original")


def drift_of_export(
    recipe: Recipe, settings: ExportSettings, run: Path, output: Path, *, device: torch.device, note: Callable[[str], None]
) -> tuple[str, list[Drift]]:
    """Compare both merge bases, and the GGUF files that were written, with the live model.

    Args:
        recipe: the recipe of the run.
        settings: the settings of the export.
        run: the run folder.
        output: the folder of the export.
        device: where the live model runs.
        note: receives a line for the user when memory runs out.

    Returns:
        What lilift measured on, and the results; no results if not even one text at a time fits into memory.
    """
    try:
        return _measured(recipe, settings, run, output, device, note)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    note(
        "the export is complete, but lilift could not compare it with the model of the run: that model does not fit into the "
        "free memory; close other programs, and run `lilift export` on this run to compare"
    )
    return "", []


def _measured(
    recipe: Recipe, settings: ExportSettings, run: Path, output: Path, device: torch.device, note: Callable[[str], None]
) -> tuple[str, list[Drift]]:
    base = local_model_folder(recipe.llm.model, recipe.llm.revision)
    adapter = RunParts.of(run).adapter
    quantized = recipe.llm.quantization == "nf4"
    candidates = [
        Candidate.merged(
            f"{name} base, {settings.dtype}",
            MergedWeights(base, adapter, quantized=quantized, merge_base=name, compute_dtype=recipe.llm.dtype),
            settings.dtype,
        )
        for name in (MERGE_BASES if quantized else ("original",))
    ]
    if "gguf" in settings.formats:
        candidates += [Candidate.gguf(output / f"llm-{quantisation}.gguf", base) for quantisation in settings.quantisations]
    bridge = load_system(recipe, run, LIFTED, device=device)
    what, rows = _rows(run, tokenisation_for(bridge, recipe, run))
    return what, measure_drift(bridge, rows, candidates, note=note)


def _rows(run: Path, tokenisation: Tokenisation) -> tuple[str, list[Row]]:
    """The run's answers to held-out questions, or its training data if it has none."""
    tasks = [
        Task(record["id"], record["question"], record["response"], "respond", language=path.stem)
        for path in sorted((run / "evaluate" / LIFTED.name).rglob("*.jsonl"))  # a file has the name of its language
        for record in JsonLines(path).read()
        if record["response"].strip()
    ]
    what = "the run's own answers to held-out questions"
    if not tasks:
        what = "training data, because this run has answered no held-out questions"
        tasks = [
            Task(each.id, each.question, each.response, "respond") for each in load_prepared(run / "data").examples[:TEXTS]
        ]
    every = max(1, len(tasks) // TEXTS)
    return what, [row for row in tokenisation.rows(tasks[::every][:TEXTS]) if row is not None]
