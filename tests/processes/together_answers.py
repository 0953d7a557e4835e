"""What the processes of the tests answer together; a part of `together`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from lilift.evaluate.benchmarks.benchmark import Benchmark, Question
from lilift.evaluate.dealt.answer_exchange import answer_share
from lilift.evaluate.evaluator import evaluate
from lilift.evaluate.response_stream import Response
from lilift.processes.joined_processes import Processes
from lilift.recipe.errors import LiliftError
from lilift.recipe.interrupt import polite_interrupts

AT_ONCE = 4


def benchmark(code: str, count: int) -> Benchmark:
    questions = (Question(f"q{n}", f"{code} {n} {'+ 0 ' * (n % 5)}?", Decimal(n)) for n in range(count))
    return Benchmark("mmwp", code, tuple(questions), count)


BENCHMARKS = [benchmark("en", 30), benchmark("sw", 30), benchmark("om", 21)]


class Teller:
    """Tells the number of a question, and may send its own process a signal before an answer."""

    def __init__(self, signal_at: int | None = None, number: int = signal.SIGTERM, seconds: float = 0.0) -> None:
        self._left, self._number, self._seconds = signal_at, number, seconds

    def generate(self, questions: Sequence[str]) -> list[str]:
        raise AssertionError(f"{len(questions)} questions, and it streams")

    def stream(self, questions: Sequence[str], *, samples: int) -> Iterator[Response]:
        assert samples == 1
        for place, question in reversed(list(enumerate(questions))):
            if self._left is not None:
                self._left -= 1
                if self._left == 0:
                    os.kill(os.getpid(), self._number)
            time.sleep(self._seconds)
            yield Response(place, f"It is {question.split()[1]}.", 4, True)


def answer(processes: Processes, folder: Path, responder: Teller, benchmarks: Sequence[Benchmark] = BENCHMARKS) -> str:
    """Answer together; returns why this process stopped."""
    try:
        with polite_interrupts() as interruption:
            if processes.is_first:
                how: dict[str, Any] = {"interruption": interruption, "questions_at_once": AT_ONCE}
                evaluate(responder, benchmarks, folder, processes=processes, **how)
            else:
                answer_share(processes, responder, benchmarks, interruption=interruption, at_once=AT_ONCE)
    except LiliftError as error:
        return str(error)
    return ""


def answers(processes: Processes, folder: Path, _models: Path) -> dict[str, Any]:
    """An evaluation that is left alone, and one that a signal to the last process stops and that goes on."""
    last = processes.rank == processes.size - 1
    slow = Teller(seconds=0.05)
    found = {
        "alone": answer(processes, folder / f"whole-{processes.size}", Teller()),
        "again": answer(processes, folder / f"whole-{processes.size}", Teller()),
        "stopped": answer(processes, folder / f"stopped-{processes.size}", Teller(6, seconds=0.05) if last else slow),
        "kept": sum(path.read_bytes().count(b"\n") for path in (folder / f"stopped-{processes.size}").rglob("*.jsonl")),
        "resumed": answer(processes, folder / f"stopped-{processes.size}", Teller()),
    }
    own = [replace(one, questions=one.questions[1:]) for one in BENCHMARKS] if last else BENCHMARKS
    if not processes.is_first:
        found["others"] = answer(processes, folder / "others", Teller(), own)
    else:  # the others never send an end, because they refuse to begin
        processes.mailbox()
        processes.say({"questions": "other questions", "dealt": []})
    return found


def killed_answers(processes: Processes, folder: Path, _models: Path) -> dict[str, Any]:
    """The last process is killed while it answers."""
    last = processes.rank == processes.size - 1
    return {"line": answer(processes, folder / "killed answers", Teller(14, signal.SIGKILL, 0.01) if last else Teller())}
