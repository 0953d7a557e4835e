"""One benchmark in one language put to one model: what is answered already, what is still to be asked, and the asking."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from lilift.evaluate.answers.answer_lines import kept_answers, line_of
from lilift.evaluate.benchmarks.benchmark import Benchmark
from lilift.evaluate.choice_likelihood import LikelihoodResponder, ranking
from lilift.evaluate.responders import CutsQuestions, Responder, Response, StreamsResponses
from lilift.evaluate.scores.scores import LanguageScore, score_language
from lilift.recipe.errors import LiliftError, RecipeError
from lilift.recipe.storage import JsonLines

_SECONDS_BETWEEN_WRITES = 5.0


class Asking:
    """One benchmark in one language, its kept answers and what is still to be asked."""

    def __init__(self, responder: Responder, benchmark: Benchmark, path: Path, samples: int) -> None:
        self.benchmark = benchmark
        if benchmark.by_likelihood:
            responder = LikelihoodResponder(ranking(responder, benchmark.name), benchmark.questions[0].labels)
        self._responder = responder
        self._samples = samples
        self._file = JsonLines(path)
        self._answers = kept_answers(self._file, benchmark)
        # Longest first: neighbours are alike, and a batch that is too large for the memory shows itself at once.
        waiting = [question for question in benchmark.questions if question.id not in self._answers]
        self.pending = sorted(waiting, key=lambda question: (-len(question.text), question.id))

    @property
    def done(self) -> int:
        return len(self._answers)

    @property
    def accuracy(self) -> float | None:
        right = sum(answer["correct"] for answer in self._answers.values())
        return right / self.done if self.done else None

    def ask(self, at_once: int) -> Generator[int, None, None]:
        """Ask what is pending; yields after each write how many questions were kept with it."""
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
            self._keep(waiting)  # what was answered before an error

    def _keep(self, lines: list[dict[str, Any]]) -> int:
        """Write lines, and empty the list; returns how many they were."""
        if lines:
            self._file.append(*lines)
            self._answers |= {line["id"]: line for line in lines}
        count = len(lines)
        lines.clear()
        return count

    def _in_turn(self, at_once: int) -> Iterator[dict[str, Any]]:
        """Lines from a responder that answers a list of questions."""
        if self._samples > 1:
            raise RecipeError("this model gives one response a question", remedy="leave --samples out")
        for start in range(0, len(self.pending), at_once):
            asked = self.pending[start : start + at_once]
            texts = [question.text for question in asked]
            responses = self._responder.generate(texts)
            if len(responses) != len(asked):
                raise LiliftError(f"{len(asked)} questions were asked and {len(responses)} answered", where=self.benchmark.name)
            for question, cut, text in zip(asked, self._cuts(texts), responses, strict=True):
                yield line_of(question, self.benchmark, [Response(0, text)], cut=cut)

    def _streamed(self, responder: StreamsResponses) -> Iterator[dict[str, Any]]:
        """Lines from a responder that gives each response as soon as it is complete."""
        if not self.pending:
            return
        texts = [question.text for question in self.pending]
        cuts = self._cuts(texts)
        gathered: dict[int, list[Response]] = {}
        with closing(responder.stream(texts, samples=self._samples)) as stream:  # type: ignore[type-var]
            for response in stream:
                mine = gathered.setdefault(response.question, [])
                mine.append(response)
                if len(mine) == self._samples:
                    place = response.question
                    yield line_of(self.pending[place], self.benchmark, gathered.pop(place), cut=cuts[place])

    def _cuts(self, texts: list[str]) -> list[bool]:
        return self._responder.cuts(texts) if isinstance(self._responder, CutsQuestions) else [False] * len(texts)

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
