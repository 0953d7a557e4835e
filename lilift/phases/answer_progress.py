"""Shows the progress of an evaluation: a live line in a terminal, and a plain line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from lilift.evaluate.answer_loop import Progress, ProgressCallback
from lilift.recipe.durations import duration_text
from lilift.recipe.terminal import is_terminal

_SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def answer_progress(stream: TextIO) -> Iterator[ProgressCallback]:
    """Show the progress of an evaluation while the block runs."""
    if not is_terminal(stream):
        yield PlainAnswers(stream).show
        return
    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[right]}"),
        TimeRemainingColumn(),
        console=Console(file=stream, highlight=False),
        expand=True,
        transient=True,
    )
    task = bars.add_task("evaluate", total=None, right="")

    def show(progress: Progress) -> None:
        bars.update(
            task,
            description=f"{progress.system}, {progress.benchmark} {progress.language}",
            total=progress.all_total,
            completed=progress.all_done,
            right=_right(progress),
        )

    with bars:
        yield show


class PlainAnswers:
    """Prints a line when a language is done, once, and every few seconds before that."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last_line = time.monotonic()
        self._done: set[tuple[str, str, str]] = set()

    def show(self, progress: Progress) -> None:
        """Print a line if it is time for one."""
        now = time.monotonic()
        key = (progress.system, progress.benchmark, progress.language)
        if progress.done < progress.total:
            if now - self._last_line < _SECONDS_BETWEEN_LINES:
                return
        elif key in self._done:  # another process had answered it
            return
        else:
            self._done.add(key)
        self._last_line = now
        left = "" if not progress.seconds_left else f", about {duration_text(progress.seconds_left)} left"
        print(
            f"  {progress.system}, {progress.benchmark} {progress.language}: "
            f"{progress.done}/{progress.total} answered, {_right(progress)}{left}",
            file=self._stream,
            flush=True,
        )


def _right(progress: Progress) -> str:
    return "" if progress.accuracy is None else f"{progress.accuracy:.0%} right"
