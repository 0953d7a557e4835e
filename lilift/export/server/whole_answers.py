"""The thread that lets a model of any kind answer one question after the other, each answer in one piece."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from lilift.export.runner.answer_text import Piece
from lilift.export.server.answer_worker import Answer
from lilift.export.server.question_reading import AnswersWhole


class WholeAnswers:
    """Generates the answers of a model in a thread of its own; see `AnswerWorker`.

    An answer that has begun goes on if its client leaves, and the next one waits for it.

    Args:
        model: the model.
    """

    def __init__(self, model: AnswersWhole) -> None:
        self._model = model
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"answers of {model.name}")

    def begin(self) -> None:
        """Nothing to do: the thread begins with the first question."""

    def close(self) -> None:
        """Let go of the answers that wait, and wait for the one that grows."""
        self._thread.shutdown(cancel_futures=True)

    def submit(self, answer: Answer) -> None:
        """Generate this answer after those that wait already."""
        self._thread.submit(self._generate, answer)

    def _generate(self, answer: Answer) -> None:
        if answer.gone:
            return
        asked = answer.asked
        sampling = asked.sampling()
        if sampling is not None:
            sampling = replace(sampling, seed=answer.seed)
        try:
            found = self._model.answer_whole(
                asked.question, asked.language, max_new_tokens=asked.longest(0) or None, sampling=sampling
            )
        except Exception as error:
            answer.send(error)
            return
        answer.cut, answer.remarks = found.cut, dict(found.remarks)
        piece = answer.stops.passed(Piece(found.text, found.tokens or 0, "stop" if found.ended else "length"))
        answer.send(piece)
