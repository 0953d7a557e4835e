"""Measures how much a run's export differs from the run, on the run's own questions and answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
from lilift.recipe.errors import DataError, LiliftError
from lilift.recipe.schema import ExportSettings, Recipe
from lilift.recipe.storage import JsonLines

TEXTS = 32
MERGE_BASES = ("dequantised", "original")
DRIFT_FILE = "drift.json"


@dataclass(frozen=True)
class DriftReport:
    """What the comparison of an export with its run found, or why lilift could not compare them.

    Attributes:
        measured_on: the texts of the comparison.
        drift: one result for each set of weights.
        not_measured: why there are no results; None if there are.
    """

    measured_on: str = ""
    drift: tuple[Drift, ...] = ()
    not_measured: str | None = None

    def lines(self) -> list[str]:
        """The report as lines to print."""
        if self.not_measured is not None:
            return [f"the export is complete, but lilift could not compare it with the model of the run: {self.not_measured}"]
        return [f"measured on {self.measured_on}:", *(drift.line() for drift in self.drift)]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `drift.json`."""
        found = {"measured on": self.measured_on, "drift": [drift.as_dict() for drift in self.drift]}
        return found if self.not_measured is None else found | {"not measured": self.not_measured}


def drift_of_export(
    recipe: Recipe, settings: ExportSettings, run: Path, output: Path, *, device: torch.device, note: Callable[[str], None]
) -> DriftReport:
    """Compare both merge bases, and the GGUF files that were written, with the live model.

    The export is already complete at this time. So a failure of the comparison is part of the report, and raises no error.

    Args:
        recipe: the recipe of the run.
        settings: the settings of the export.
        run: the run folder.
        output: the folder of the export.
        device: where the live model runs.
        note: receives a line for the user when memory runs out.
    """
    try:
        return _measured(recipe, settings, run, output, device, note)
    except LiliftError as error:
        return DriftReport(not_measured=error.line())
    except Exception as error:
        if is_out_of_memory(error):
            reason = (
                "that model does not fit into the free memory; close other programs, and run `lilift export` on this run to "
                "compare"
            )
        else:
            reason = f"this is a bug in lilift: {type(error).__name__}: {error}"
        return DriftReport(not_measured=" ".join(reason.split()))


def _measured(
    recipe: Recipe, settings: ExportSettings, run: Path, output: Path, device: torch.device, note: Callable[[str], None]
) -> DriftReport:
    base = local_model_folder(recipe.llm.model, recipe.llm.revision)
    adapter = RunParts.of(run, recipe).adapter
    quantized = recipe.llm.quantization == "nf4"
    candidates = [
        Candidate.merged(
            f"{name} base, {settings.dtype}",
            MergedWeights(base, adapter, quantized=quantized, merge_base=name, compute_dtype=recipe.llm.dtype),
            settings.dtype,
        )
        for name in (MERGE_BASES if quantized else ("original",))
    ]
    files = [output / f"llm-{quantisation}.gguf" for quantisation in settings.quantisations]
    if "gguf" in settings.formats:
        candidates += [Candidate.gguf(path, base) for path in files if path.is_file()]
    bridge = load_system(recipe, run, LIFTED, device=device)
    what, rows = rows_to_measure(run, tokenisation_for(bridge, recipe, run))
    return DriftReport(what, tuple(measure_drift(bridge, rows, candidates, note=note)))


def rows_to_measure(run: Path, tokenisation: Tokenisation) -> tuple[str, list[Row]]:
    """The run's answers to held-out questions, or its training data if no answer can be used, and what they are.

    lilift leaves out blank answers, and answers that are too long for the recipe.

    Raises:
        DataError: no text can be used.
        RunFolderError: the files of the run are damaged.
    """
    tasks = [
        Task(record["id"], record["question"], record["response"], "respond", language=path.stem)
        for path in sorted((run / "evaluate" / LIFTED.name).rglob("*.jsonl"))  # a file has the name of its language
        for record in JsonLines(path).read()
    ]
    rows = _usable(tasks, tokenisation)
    if rows:
        return "the run's own answers to held-out questions", rows
    reason = "has no usable answers to held-out questions" if tasks else "has answered no held-out questions"
    examples = load_prepared(run / "data").examples
    rows = _usable([Task(each.id, each.question, each.response, "respond") for each in examples[: 4 * TEXTS]], tokenisation)
    if rows:
        return f"training data, because this run {reason}", rows
    raise DataError(
        "every answer and every training text is blank, or longer than data.max_tokens or encoder.max_tokens",
        where=run,
        remedy="set these two higher in the next run",
    )


def _usable(tasks: Sequence[Task], tokenisation: Tokenisation) -> list[Row]:
    """Rows of the tasks that have text and fit into the limits; at most `TEXTS`, spread over all of them."""
    written = [task for task in tasks if task.source.strip() and task.target.strip()]
    if tokenisation.limits.policy == "error":  # a measurement leaves out what training refuses
        tokenisation = replace(tokenisation, limits=replace(tokenisation.limits, policy="drop"))
    every = max(1, len(written) // TEXTS)
    spread = [written[index] for first in range(every) for index in range(first, len(written), every)]
    rows: list[Row] = []
    for task in spread:
        try:
            rows += [row for row in tokenisation.rows([task]) if row is not None]
        except DataError:  # nothing of the answer is left within the limits
            continue
        if len(rows) == TEXTS:
            break
    return rows
