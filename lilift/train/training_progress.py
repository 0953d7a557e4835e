"""What the user sees while a stage trains: a live line in a terminal, and a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from lilift.recipe.durations import duration_text
from lilift.recipe.terminal import is_terminal


@dataclass(frozen=True)
class StepReport:
    """One optimizer step, for the display.

    Attributes:
        step: finished steps, including this one.
        total_steps: steps of the whole stage.
        epoch: the pass over the data, from 1.
        loss: mean cross-entropy of this step's tokens that carry loss, in nats.
        learning_rate: of this step.
        tokens: real positions of this step.
        seconds: duration of this step.
        memory_mib: peak memory so far.
    """

    step: int
    total_steps: int
    epoch: int
    loss: float
    learning_rate: float
    tokens: int
    seconds: float
    memory_mib: float


class StageProgress(Protocol):
    """Shows what happens while a stage trains."""

    def begin(self, stage: str, *, total_steps: int, done_steps: int) -> None:
        """The stage starts, or continues after `done_steps`."""

    def step(self, report: StepReport) -> None:
        """A step is done."""

    def note(self, text: str) -> None:
        """Show a line that every user should see, such as a warning."""

    def detail(self, text: str) -> None:
        """Show a line only to a user who watches the training."""

    def end(self) -> None:
        """The stage has ended or stopped early; called exactly once after `begin`."""


class Averages:
    """Means over the latest steps, in which older steps count less, because the loss varies much from step to step.

    The first steps count equally, so that the first step does not dominate the display.
    """

    _SPAN = 20

    def __init__(self) -> None:
        self._steps = 0
        self.loss = 0.0
        self.tokens_per_second = 0.0

    def add(self, report: StepReport) -> None:
        """Take in one step."""
        self._steps += 1
        share = 1 / min(self._steps, self._SPAN)
        self.loss += share * (report.loss - self.loss)
        self.tokens_per_second += share * (report.tokens / max(report.seconds, 1e-9) - self.tokens_per_second)


class LiveProgress:
    """A progress bar for a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._averages = Averages()

    def begin(self, stage: str, *, total_steps: int, done_steps: int) -> None:
        self._averages = Averages()
        self._bar = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self._console,
            expand=True,
        )
        self._task = self._bar.add_task(stage, total=total_steps, completed=done_steps, figures="")
        self._bar.start()

    def step(self, report: StepReport) -> None:
        assert self._bar is not None
        self._averages.add(report)
        figures = (
            f"loss {self._averages.loss:.4f}  {self._averages.tokens_per_second:,.0f} tokens/s  {report.memory_mib:,.0f} MiB"
        )
        self._bar.update(self._task, completed=report.step, figures=figures)

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def detail(self, text: str) -> None:
        self.note(text)

    def end(self) -> None:
        assert self._bar is not None
        self._bar.stop()


class PlainProgress:
    """A line of text every few seconds, for log files and pipes.

    Args:
        write: prints one line; gets it without a line break.
        every_seconds: least time between two lines about steps; the first and the last step always get a line.
        clock: seconds since any fixed moment.
    """

    def __init__(
        self, write: Callable[[str], None], *, every_seconds: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._every = every_seconds
        self._clock = clock
        self._stage = ""
        self._first: tuple[float, int] | None = None
        self._last_line: float | None = None
        self._averages = Averages()

    def begin(self, stage: str, *, total_steps: int, done_steps: int) -> None:
        self._stage = stage
        self._averages = Averages()
        self._first = None
        self._last_line = None
        so_far = f", continuing after step {done_steps}" if done_steps else ""
        self._write(f"{stage}: {total_steps} steps{so_far}")

    def step(self, report: StepReport) -> None:
        self._averages.add(report)
        now = self._clock()
        since, first = self._first = self._first or (now, report.step)
        if self._last_line is not None and now - self._last_line < self._every and report.step < report.total_steps:
            return
        self._last_line = now
        # The first step says nothing about the others: caches are empty, kernels are compiled, memory is new.
        rate = (now - since) / (report.step - first) if report.step > first else None
        left = "" if rate is None else f", {duration_text(rate * (report.total_steps - report.step))} left"
        self._write(
            f"{self._stage}: step {report.step}/{report.total_steps}, epoch {report.epoch}, "
            f"loss {self._averages.loss:.4f}, "
            f"learning rate {report.learning_rate:.2e}, {self._averages.tokens_per_second:,.0f} tokens/s, "
            f"{report.memory_mib:,.0f} MiB{left}"
        )

    def note(self, text: str) -> None:
        self._write(text)

    def detail(self, text: str) -> None:
        self.note(text)

    def end(self) -> None:
        pass


class Silence:
    """Shows nothing: another process of the run shows everything."""

    def begin(self, stage: str, *, total_steps: int, done_steps: int) -> None:
        pass

    def step(self, report: StepReport) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def detail(self, text: str) -> None:
        pass

    def end(self) -> None:
        pass


class NoProgress:
    """Shows only notes, on standard error."""

    def begin(self, stage: str, *, total_steps: int, done_steps: int) -> None:
        pass

    def step(self, report: StepReport) -> None:
        pass

    def note(self, text: str) -> None:
        print(text, file=sys.stderr)

    def detail(self, text: str) -> None:
        pass

    def end(self) -> None:
        pass


def progress_for(stream: TextIO) -> StageProgress:
    """The display for a stream: a live line in a terminal, plain lines elsewhere."""
    if is_terminal(stream):
        return LiveProgress(Console(file=stream, highlight=False))

    def write(line: str) -> None:
        print(line, file=stream, flush=True)

    return PlainProgress(write)
