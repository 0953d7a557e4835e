"""Evaluates one model on one benchmark in one language: stored answers, questions that are left, and the score."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from lilift.evaluate.answers.answer_lines import kept_answers, line_of
from lilift.evaluate.benchmarks.benchmark import Benchmark
from lilift.evaluate.choice_likelihood import LikelihoodResponder, ranking
from lilift.evaluate.dealt.question_shares import longest_first
from lilift.evaluate.described_questions import DescribesQuestions
from lilift.evaluate.responders import CutsQuestions, ReadsLanguages, Responder, StreamsResponses
from lilift.evaluate.response_stream import Response
from lilift.evaluate.scores.scores import LanguageScore, score_language
from lilift.recipe.errors import LiliftError, RecipeError
from lilift.recipe.storage import JsonLines

_SECONDS_BETWEEN_WRITES = 5.0
Send = Callable[..., None]


class LanguageEvaluation:
    """One benchmark in one language: its stored answers, and the questions that the model still has to answer.

    Args:
        responder: answers the questions.
        benchmark: the questions.
        answers: the file of the answers, which are used again if it holds some already; or what receives them in a process
            that keeps none.
        samples: responses drawn for each question.

    Attributes:
        pending: the questions that the model still has to answer, in this order.

    Raises:
        RecipeError: the benchmark compares likelihoods, and the responder cannot compute them.
        RunFolderError: the file holds an answer to another question.
    """

    def __init__(self, responder: Responder, benchmark: Benchmark, answers: Path | Send, samples: int) -> None:
        self.benchmark = benchmark
        if isinstance(responder, ReadsLanguages):
            responder = cast("Responder", responder.in_language(benchmark.language))
        if benchmark.by_likelihood:
            labels = benchmark.questions[0].labels
            own = {question.text: question.labels for question in benchmark.questions if question.labels != labels}
            responder = LikelihoodResponder(ranking(responder, benchmark.name), labels, own)
        self._responder = responder
        self._samples = samples
        self._file: JsonLines | None = None
        if isinstance(answers, Path):
            self._file = JsonLines(answers)
            answers = self._file.append
        self._send = answers
        self._answers = {} if self._file is None else kept_answers(self._file, benchmark)
        self.pending = longest_first([question for question in benchmark.questions if question.id not in self._answers])

    @property
    def done(self) -> int:
        return len(self._answers)

    @property
    def accuracy(self) -> float | None:
        right = sum(answer["correct"] for answer in self._answers.values())
        return right / self.done if self.done else None

    def answer_pending(self, at_once: int) -> Generator[int, None, None]:
        """Let the model answer the pending questions; yields after each write how many answers it stored."""
        streams = isinstance(self._responder, StreamsResponses)
        lines = self._streamed(self._responder) if isinstance(self._responder, StreamsResponses) else self._in_turn(at_once)
        waiting: list[dict[str, Any]] = []
        written = time.monotonic()
        try:
            for line in lines:
                waiting.append(line)
                late = streams and time.monotonic() - written > _SECONDS_BETWEEN_WRITES
                if len(waiting) >= at_once or late:
                    yield self._keep(waiting)
                    written = time.monotonic()
            if waiting:
                yield self._keep(waiting)
        finally:
            self._keep(waiting)  # the answers before an error

    def keep(self, lines: Sequence[dict[str, Any]]) -> int:
        """Write the lines of answers, also those of another process; returns how many lines there were."""
        if lines:
            self._send(*lines)
            self._answers |= {line["id"]: line for line in lines}
        return len(lines)

    def _keep(self, lines: list[dict[str, Any]]) -> int:
        """Keep the lines and empty the list."""
        count = self.keep(lines)
        lines.clear()
        return count

    def put_in_order(self) -> None:
        """Bring a complete file into the order of the questions.

        Its bytes then do not depend on interruptions or on the number of processes. Answers to other questions stay at its end.
        """
        if self._file is None or self.done < len(self.benchmark.questions):
            return
        kept = self._file.read()
        first = {question.id: place for place, question in enumerate(self.benchmark.questions)}
        ordered = sorted(kept, key=lambda line: first.get(str(line.get("id")), len(first)))
        if ordered != kept:
            self._file.rewrite(ordered)

    def _in_turn(self, at_once: int) -> Iterator[dict[str, Any]]:
        """Lines from a responder that answers a whole list of questions at a time."""
        if self._samples > 1:
            raise RecipeError("this model gives only one response to a question", remedy="leave --samples out")
        for start in range(0, len(self.pending), at_once):
            some = self.pending[start : start + at_once]
            texts = [question.text for question in some]
            responses = self._responder.generate(texts)
            if len(responses) != len(some):
                raise LiliftError(
                    f"the model gave {len(responses)} answers to {len(some)} questions", where=self.benchmark.name
                )
            about = self._about(texts)
            for question, cut, text, beside in zip(some, self._cuts(texts), responses, about, strict=True):
                yield line_of(question, self.benchmark, [Response(0, text)], cut=cut) | beside

    def _streamed(self, responder: StreamsResponses) -> Iterator[dict[str, Any]]:
        """Lines from a responder that yields each response as soon as it is complete."""
        if not self.pending:
            return
        texts = [question.text for question in self.pending]
        cuts, about = self._cuts(texts), self._about(texts)
        gathered: dict[int, list[Response]] = {}
        with closing(responder.stream(texts, samples=self._samples)) as stream:  # type: ignore[type-var]
            for response in stream:
                mine = gathered.setdefault(response.question, [])
                mine.append(response)
                if len(mine) == self._samples:
                    place = response.question
                    line = line_of(self.pending[place], self.benchmark, gathered.pop(place), cut=cuts[place])
                    yield line | about[place]

    def _cuts(self, texts: list[str]) -> list[bool]:
        return self._responder.cuts(texts) if isinstance(self._responder, CutsQuestions) else [False] * len(texts)

    def _about(self, texts: list[str]) -> list[dict[str, Any]]:
        """What the responder reads in place of each question, if it is something else."""
        return self._responder.about_questions(texts) if isinstance(self._responder, DescribesQuestions) else [{}] * len(texts)

    def score(self) -> LanguageScore:
        answers = self._answers.values()
        sound = [question.id for question in self.benchmark.questions if question.sound]
        return score_language(
            self.benchmark.language,
            questions=len(self.benchmark.questions),
            correct=sum(answer["correct"] for answer in answers),
            missing=sum(answer["extracted"] is None for answer in answers),
            cut=sum(answer["cut"] for answer in answers),
            rows_read=self.benchmark.rows_read,
            sound=len(sound),
            sound_correct=sum(self._answers[id]["correct"] for id in sound),
            published_correct=sum(answer["published"] for answer in answers),
            published_only=sum(answer["published"] and not answer["correct"] for answer in answers),
            empty=sum(not answer["response"].strip() for answer in answers),
        )
