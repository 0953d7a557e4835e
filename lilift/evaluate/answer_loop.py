"""Lets a model answer all questions of an evaluation, and says how far it has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lilift.evaluate.answering_cost import add_cost, measured_cost
from lilift.evaluate.dealt.answer_exchange import GatheredAnswers
from lilift.evaluate.language_evaluation import LanguageEvaluation
from lilift.recipe.interrupt import AGAIN, Interruption

# This module imports torch, and lilift evaluates exports on machines without torch.
if TYPE_CHECKING:
    from lilift.processes.joined_processes import Processes

QUESTIONS_AT_ONCE = 64
"""Questions between two writes to the disk."""


@dataclass(frozen=True)
class Progress:
    """How far an evaluation has come.

    Attributes:
        system: title of the system.
        benchmark, language: which questions the model answers now.
        done, total: questions of this language, with those that were answered before this run.
        accuracy: in this language so far; None before the first answer.
        all_done, all_total: questions of all languages and benchmarks.
        seconds_left: estimated from the speed so far; None before the first answer.
    """

    system: str
    benchmark: str
    language: str
    done: int
    total: int
    accuracy: float | None
    all_done: int
    all_total: int
    seconds_left: float | None


ProgressCallback = Callable[[Progress], None]


def answer_all(
    runs: Sequence[LanguageEvaluation],
    folder: Path,
    title: str,
    *,
    progress: ProgressCallback | None = None,
    interruption: Interruption | None = None,
    questions_at_once: int = QUESTIONS_AT_ONCE,
    processes: Processes | None = None,
) -> None:
    """Let the model answer every pending question.

    Args:
        runs: the languages of all benchmarks.
        folder: the folder of the system, for `cost.json`.
        title: the system's name on the screen.
        progress: called after each write.
        interruption: checked after each write; needed with several processes.
        questions_at_once: questions between two writes; a responder that does not stream gets this many at once.
        processes: those that answer together, if there are several. The others call `answer_share`.

    Raises:
        StoppedBySignal: the user or the system asked to stop; the answers so far are stored.
        ProcessLost: another process has ended before it has sent all its answers.
    """
    tally = _Tally(runs, title, progress)
    others: GatheredAnswers | None = None
    if processes is not None and not processes.alone:
        assert interruption is not None
        others = GatheredAnswers(processes, runs, interruption, tally.add)
    for run in runs:
        tally.show(run)
        add = partial(add_cost, folder) if others is None else others.add_own_cost
        keep = partial(add, run.benchmark.name)
        with measured_cost(keep) as meter, closing(run.answer_pending(questions_at_once)) as writes:
            while not (interruption and interruption.requested):
                written = next(writes, None)
                if written is None:
                    break
                meter.answered(written)
                tally.add(run, written)
                if others is not None:
                    others.collect()
    if others is not None:
        others.collect_all()
        for name, cost in others.costs().items():
            add_cost(folder, name, cost)
    for run in runs:
        run.put_in_order()
    if interruption and interruption.requested and tally.left:
        raise interruption.stop(f"stopped after {tally.total - tally.left} of {tally.total} questions", AGAIN)


class _Tally:
    """Counts the answers, shows how far the evaluation is, and estimates how long the questions that are left will take."""

    def __init__(self, runs: Sequence[LanguageEvaluation], title: str, progress: ProgressCallback | None) -> None:
        self.left = self._at_first = sum(len(run.pending) for run in runs)
        self.total = sum(len(run.benchmark.questions) for run in runs)
        self._title, self._progress, self._began = title, progress, time.monotonic()

    def add(self, run: LanguageEvaluation, answers: int) -> None:
        """Count answers that an evaluation has kept."""
        self.left -= answers
        self.show(run)

    def show(self, run: LanguageEvaluation) -> None:
        """Show how far the evaluation is."""
        if self._progress is None:
            return
        answered = self._at_first - self.left
        seconds_left = (time.monotonic() - self._began) / answered * self.left if answered else None
        benchmark = run.benchmark
        self._progress(
            Progress(
                self._title,
                benchmark.name,
                benchmark.language,
                run.done,
                len(benchmark.questions),
                run.accuracy,
                self.total - self.left,
                self.total,
                seconds_left,
            )
        )
