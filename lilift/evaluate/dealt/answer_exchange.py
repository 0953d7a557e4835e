"""An evaluation in several processes: the first one deals the questions, and keeps the answers of all.

The others send each answer a few seconds after the model has written it. Only the first process writes files, so that an
evaluation that was interrupted continues with any number of processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from lilift.evaluate.answering_cost import AnsweringCost, CostMeter, one_after_other
from lilift.evaluate.benchmarks.benchmark import Benchmark
from lilift.evaluate.dealt.question_shares import deal_questions, digest_of_questions
from lilift.evaluate.language_evaluation import LanguageEvaluation
from lilift.evaluate.responders import Responder
from lilift.recipe.errors import RecipeError
from lilift.recipe.interrupt import AGAIN, Interruption

# This module imports torch, and lilift evaluates exports on machines without torch.
if TYPE_CHECKING:
    from lilift.processes.joined_processes import Processes

_POLL_SECONDS = 0.05
_SECONDS_BETWEEN_CHECKS = 2.0
_LAST_ANSWERS_SECONDS = 15.0
"""After a signal, the first process waits so long for the last answers of the others. torchrun ends all after 30 seconds."""
Collected = Callable[[LanguageEvaluation, int], None]


class GatheredAnswers:
    """What the other processes answer, in the first process.

    Args:
        processes: those that answer together.
        runs: the evaluations; each keeps only those of its pending questions that this process answers.
        interruption: is also requested if another process got the signal.
        collected: called with an evaluation and the number of answers that it got from another process.
    """

    def __init__(
        self, processes: Processes, runs: Sequence[LanguageEvaluation], interruption: Interruption, collected: Collected
    ) -> None:
        self._processes, self._runs, self._interruption, self._collected = processes, runs, interruption, collected
        self._box = processes.mailbox()
        self._ended: dict[int, dict[str, AnsweringCost]] = {0: {}}
        dealt = deal_questions([run.pending for run in runs], processes.size)
        ids = [[[question.id for question in questions] for questions in share] for share in dealt]
        processes.say({"questions": digest_of_questions([run.benchmark for run in runs]), "dealt": ids})
        for run, own in zip(runs, dealt[0], strict=True):
            run.pending = own

    def add_own_cost(self, benchmark: str, cost: AnsweringCost) -> None:
        """Note what answers of this process cost."""
        _add(self._ended[0], benchmark, cost)

    def collect(self) -> None:
        """Keep the answers that have come since the last call."""
        with self._processes.losses_named():
            messages = self._box.take()
        for rank, message in messages:
            if "lines" in message:
                run = self._runs[message["run"]]
                self._collected(run, run.keep(message["lines"]))
            if "costs" in message:
                self._ended[rank] = {name: AnsweringCost(**cost) for name, cost in message["costs"].items()}
            if message.get("stop") and not self._interruption.requested:
                self._interruption.request(message["stop"])

    def collect_all(self) -> None:
        """Keep answers until the other processes have no more.

        Raises:
            ProcessLost: one of them has ended before that.
        """
        looked = time.monotonic()
        while len(self._ended) < self._processes.size and not self._interruption.requested:
            time.sleep(_POLL_SECONDS)
            if check := time.monotonic() - looked > _SECONDS_BETWEEN_CHECKS:
                looked = time.monotonic()
            before = len(self._ended)
            self.collect()
            if check and len(self._ended) == before:
                self._processes.require_all()
        if self._interruption.requested:
            self._collect_last()

    def _collect_last(self) -> None:
        """Ask the others to stop, and wait a moment for their last answers."""
        with self._processes.losses_named():
            self._box.ask_to_stop(self._interruption.number)
        until = time.monotonic() + _LAST_ANSWERS_SECONDS
        missing = set(range(self._processes.size))
        while (missing := missing - self._ended.keys()) and not missing & set(self._processes.gone()):
            if time.monotonic() > until:
                return
            time.sleep(_POLL_SECONDS)
            self.collect()
        self.collect()
        if missing - self._ended.keys():  # torchrun's signal came because one of them was killed
            self._processes.require_all()

    def costs(self) -> dict[str, AnsweringCost]:
        """What the answers of all cost, by benchmark. The processes worked side by side."""
        found: dict[str, list[AnsweringCost]] = {}
        for own in self._ended.values():
            for name, cost in own.items():
                found.setdefault(name, []).append(cost)
        return {name: _side_by_side(costs) for name, costs in found.items()}


def answer_share(
    processes: Processes,
    responder: Responder,
    benchmarks: Sequence[Benchmark],
    *,
    interruption: Interruption,
    samples: int = 1,
    at_once: int = 64,
) -> None:
    """In every process but the first: answer this process's share of the questions that the first one evaluates now.

    Args:
        processes: those that answer together.
        responder: the same model as in the first process.
        benchmarks: the same questions as in the first process.
        interruption: checked whenever answers are sent.
        samples: responses drawn for each question.
        at_once: a responder that does not stream gets so many questions at once.

    Raises:
        RecipeError: the questions are others than those of the first process.
        StoppedBySignal: one of the processes was asked to stop; the answers so far are sent.
    """
    box = processes.mailbox()
    work = processes.hear()
    if work["questions"] != digest_of_questions(benchmarks):
        raise RecipeError(
            f"process {processes.rank} reads other questions than process 0",
            where="evaluate.benchmarks",
            remedy="use the same benchmark files on every machine",
        )
    costs: dict[str, AnsweringCost] = {}
    stopped = False

    def send(run: int, *lines: Mapping[str, Any]) -> None:
        with processes.losses_named():
            box.post({"run": run, "lines": lines})

    for number, (benchmark, ids) in enumerate(zip(benchmarks, work["dealt"][processes.rank], strict=True)):
        if not ids or stopped:
            continue
        run = LanguageEvaluation(responder, benchmark, partial(send, number), samples)
        questions = {question.id: question for question in benchmark.questions}
        run.pending = [questions[id] for id in ids]
        meter = CostMeter()
        with closing(run.answer_pending(at_once)) as writes:
            for written in writes:
                meter.answered(written)
                with processes.losses_named():
                    stopped = interruption.requested or box.stop > 0
                if stopped:
                    break
        if meter.questions:
            _add(costs, benchmark.name, meter.cost())
    with processes.losses_named():
        if box.stop:
            interruption.request(box.stop)
        box.post({"costs": {name: asdict(cost) for name, cost in costs.items()}, "stop": interruption.number})
    if stopped or interruption.requested:
        raise interruption.stop("stopped; process 0 keeps the answers", AGAIN)


def _add(costs: dict[str, AnsweringCost], benchmark: str, cost: AnsweringCost) -> None:
    costs[benchmark] = one_after_other(costs.get(benchmark), cost)


def _side_by_side(costs: Sequence[AnsweringCost]) -> AnsweringCost:
    peaks = [cost.peak_gib for cost in costs if cost.peak_gib is not None]
    questions, seconds = sum(cost.questions for cost in costs), max(cost.seconds for cost in costs)
    return AnsweringCost(questions, seconds, max(peaks, default=None), costs[0].memory)
