"""What a stage trains and how, and what a finished stage took and reached."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lilift.data.batches.step_grouping import RowSource, StepPlan
from lilift.memory.encode_ahead import Encode
from lilift.processes.joined_processes import ALONE, Processes
from lilift.recipe.schema import StageSettings
from lilift.recipe.storage import JsonLines
from lilift.train.accuracy_watch import WatchPlan
from lilift.train.checkpoint import CheckpointStore
from lilift.train.tracking.tracker import Tracker
from lilift.train.watch_lines import WATCHED


@dataclass(frozen=True)
class StageJob:
    """What a stage trains, how, and where it writes.

    Attributes:
        name: the stage's name on the screen.
        section: the recipe's section that holds the settings; errors name it.
        settings: that section.
        source: the rows.
        plan: how rows become steps.
        folder: holds `metrics.jsonl` and `checkpoints/`.
        fingerprint: a digest of everything in the recipe that the stage depends on.
        seed: of dropout and of every other random draw while training.
        resume: continue from a checkpoint if there is one. If it is off, an existing checkpoint is an error.
        predicted_mib: the planned peak; lilift shows it beside the measured one.
        encode: reads the texts of the next rows where the encoder does not stay on the card; None where it stays.
        watch: the foreign questions that lilift watches meanwhile, if any. Only the first process lets the model answer them.
        processes: those that train the stage together.
        tracker: copies the lines of metrics and watches to another program, if the recipe asks for it.
    """

    name: str
    section: str
    settings: StageSettings
    source: RowSource
    plan: StepPlan
    folder: Path
    fingerprint: str
    seed: int
    resume: bool
    predicted_mib: float | None = None
    encode: Encode | None = None
    watch: WatchPlan | None = None
    processes: Processes = ALONE
    tracker: Tracker | None = None

    @property
    def metrics(self) -> JsonLines:
        """The stage's lines of metrics."""
        return self._lines("metrics.jsonl")

    @property
    def watched(self) -> JsonLines:
        """The stage's watches of foreign questions."""
        return self._lines(WATCHED)

    @property
    def checkpoints(self) -> CheckpointStore:
        """The stage's checkpoints."""
        return CheckpointStore(self.folder / "checkpoints", fingerprint=self.fingerprint, keep=self.settings.keep_checkpoints)

    def _lines(self, name: str) -> JsonLines:
        path = self.folder / name
        return JsonLines(path) if self.tracker is None else self.tracker.lines(path)


@dataclass(frozen=True)
class StageResult:
    """What a finished stage took and reached.

    Attributes:
        steps: optimizer steps.
        tokens: real positions trained on.
        loss_tokens: tokens that carried loss.
        seconds: training time without pauses.
        peak_memory_mib: highest memory in use.
        loss: mean cross-entropy of the last line of metrics, in nats.
        kept_step: the step whose weights the stage ends with, if it keeps the best ones; None: the last step.
    """

    steps: int
    tokens: int
    loss_tokens: int
    seconds: float
    peak_memory_mib: float
    loss: float
    kept_step: int | None = None
