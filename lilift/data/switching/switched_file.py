"""Writes a file of code-switched examples with several processes; the file is the same for any number of processes.

It has one line of JSON for each example and epoch, in the order of the examples. The file has a temporary name until it is
complete. If a call is interrupted, the same call later continues after the last complete line.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from lilift.data.align_tasks import AlignTasks
from lilift.data.texts.examples import Example
from lilift.recipe import storage
from lilift.recipe.errors import DataError

_TOGETHER = 512
"""Examples of one piece of work."""
_AHEAD = 4
"""Pieces that wait for each worker: enough to keep it busy, and few enough to need little memory."""

_Work = tuple[int, int, list[Example]]
"""Epoch, index of the first example, the examples."""


def write_switched(
    path: Path, tasks: AlignTasks, examples: Sequence[Example], *, epochs: int = 1, workers: int = 1
) -> tuple[int, int]:
    """Write every example in the form that stage 1 uses in each epoch.

    Args:
        path: the file; an old file is replaced when the new one is complete.
        tasks: makes the tasks.
        examples: the English instructions.
        epochs: number of epochs, from the first one.
        workers: number of processes; with 1, this process does the work.

    Returns:
        The number of lines in the file, and how many of them come from an interrupted call.

    Raises:
        DataError: the lines of an interrupted call were made from other data or settings.
        StorageError: the file cannot be written.
    """
    partial = path.with_name(".partial-" + path.name)
    with storage.storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        done = _complete_lines(partial, tasks, examples)
        with partial.open("ab") as file:
            with contextlib.closing(_made(tasks, _work(examples, epochs, done), workers)) as lines:
                for piece in lines:
                    file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    return epochs * len(examples), done


def switched_line(tasks: AlignTasks, example: Example, epoch: int, index: int) -> dict[str, Any]:
    """The line of one example, as JSON values."""
    task, found = tasks.task(example, epoch, index)
    return {
        "id": example.id,
        "epoch": epoch,
        "language": found.language,
        "ratio": round(found.ratio, 6),
        "shuffled": found.shuffled,
        "source": task.source,
        "kind": task.kind,
        "target": task.target,
        "swaps": [[swap.start, swap.end, swap.original, swap.language] for swap in found.swaps],
    }


def _work(examples: Sequence[Example], epochs: int, done: int) -> Iterator[_Work]:
    for epoch in range(done // len(examples), epochs):
        first = done % len(examples) if epoch == done // len(examples) else 0
        for start in range(first, len(examples), _TOGETHER):
            yield epoch, start, list(examples[start : start + _TOGETHER])


def _lines(tasks: AlignTasks, work: _Work) -> bytes:
    epoch, first, examples = work
    made = (switched_line(tasks, example, epoch, index) for index, example in enumerate(examples, start=first))
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in made).encode()


def _made(tasks: AlignTasks, work: Iterator[_Work], workers: int) -> Generator[bytes, None, None]:
    """The lines of each piece of work, in order."""
    if workers == 1:
        yield from (_lines(tasks, piece) for piece in work)
        return
    context = multiprocessing.get_context("spawn")  # the same on every system; a fork would copy the locks of other threads
    with context.Pool(workers, _begin, (tasks,)) as pool:
        waiting = deque(pool.apply_async(_lines_here, (piece,)) for piece in itertools.islice(work, _AHEAD * workers))
        while waiting:
            yield waiting.popleft().get()
            waiting.extend(pool.apply_async(_lines_here, (piece,)) for piece in itertools.islice(work, 1))


_tasks: AlignTasks
"""The task maker of this worker process."""


def _begin(tasks: AlignTasks) -> None:
    global _tasks
    _tasks = tasks
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C and ends its workers


def _lines_here(work: _Work) -> bytes:
    return _lines(_tasks, work)


def _complete_lines(partial: Path, tasks: AlignTasks, examples: Sequence[Example]) -> int:
    """How many complete lines an interrupted call has left; an incomplete last line is removed.

    Raises:
        DataError: the last complete line differs from the line that lilift makes of the same example now.
    """
    if not partial.exists():
        return 0
    count, end, last = 0, 0, b""
    with partial.open("rb+") as file:
        for line in file:
            if line.endswith(b"\n"):
                count, end, last = count + 1, end + len(line), line
        file.truncate(end)
    if count:
        epoch, index = divmod(count - 1, len(examples))
        if last != _lines(tasks, (epoch, index, [examples[index]])):
            raise DataError(
                "an interrupted call has left lines that were made from other data or settings",
                where=partial,
                remedy="delete this file and run the command again",
            )
    return count
