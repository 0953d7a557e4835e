"""One path from questions to scores, for the recipe's evaluate phase and for `lilift eval`.

    evaluate/
      scores.json                             every system's scores; also scores.csv and scores.md
      analysis.json                           length and language of responses, agreement across languages
      <system>/inputs.json                    what the responses depend on
      <system>/<benchmark>/<language>.jsonl   one line a question: id, question, gold, response, extracted, correct,
                                              published (right by the authors' scoring), cut

Responses are on the disk a few seconds after they are made; after an interruption the rows that are there are not generated
again. Where several responses to a question are drawn, its line also has `responses` and `passed` (which of them are right),
and `response` is the one that stands for all: the first with the commonest answer. Scores are always counted from the kept
responses, so a second evaluation of the same folder asks nothing and prints the same scores.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lilift.evaluate.analysis import analyse
from lilift.evaluate.benchmarks import Benchmark, Question, check_alignment, load_benchmark
from lilift.evaluate.generation import CutsQuestions, Responder, Response, StreamsResponses
from lilift.evaluate.judging import judge
from lilift.evaluate.number_formats import plain_number
from lilift.evaluate.scores import (
    BenchmarkScores,
    LanguageScore,
    SystemScores,
    as_json,
    from_json,
    score_benchmark,
    score_language,
)
from lilift.evaluate.voting import voted
from lilift.recipe.errors import DataError, LiliftError, RecipeError, RunFolderError
from lilift.recipe.interrupt import Interruption
from lilift.recipe.schema import BenchmarkSettings
from lilift.recipe.storage import JsonLines, read_json, write_json

SCORES = "scores.json"
QUESTIONS_AT_ONCE = 64
"""Questions between two writes to the disk."""
_SECONDS_BETWEEN_WRITES = 5.0


@dataclass(frozen=True)
class System:
    """A model in one state: `name` is its folder, `title` what people read."""

    name: str
    title: str


UNTRAINED = System("untrained", "before training")
CONTROL = System("control", "without stage 1")
LIFTED = System("lifted", "both stages")


@dataclass(frozen=True)
class Progress:
    """How far an evaluation has come.

    Attributes:
        system: title of the system.
        benchmark, language: what is being asked.
        done, total: questions of this language, kept ones included.
        accuracy: of this language so far; None before the first answer.
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


def load_benchmarks(settings: Sequence[BenchmarkSettings], languages: Sequence[str], *, seed: int) -> list[Benchmark]:
    """The questions of every benchmark and language, read before anything is asked.

    Args:
        settings: the benchmarks.
        languages: asked beside English where a benchmark names no languages of its own.
        seed: draws the questions of `world`.

    Raises:
        DataError: a benchmark is named twice, or its languages hold different rows; and see `load_benchmark`.
    """
    names = [one.name for one in settings]
    if len(set(names)) < len(names):
        raise DataError("a benchmark is named twice", where="evaluate.benchmarks", remedy="name its languages in one entry")
    loaded = [
        load_benchmark(one, language, seed=seed)
        for one in settings
        for language in dict.fromkeys(one.languages or ("en", *languages))
    ]
    check_alignment(loaded)
    return loaded


def evaluate(
    responder: Responder,
    benchmarks: Sequence[Benchmark],
    folder: Path,
    *,
    system: System = LIFTED,
    inputs: Mapping[str, Any] | None = None,
    progress: ProgressCallback | None = None,
    interruption: Interruption | None = None,
    questions_at_once: int = QUESTIONS_AT_ONCE,
    samples: int = 1,
) -> SystemScores:
    """Ask a system every question that it has not answered yet, and count.

    Args:
        responder: answers questions.
        benchmarks: what to ask; see `load_benchmarks`.
        folder: where responses and scores are kept; may hold other systems' too.
        system: which model this is.
        inputs: plain JSON values that the responses depend on (weights, limits, template). Kept responses made from others are
            refused.
        progress: told after each write.
        interruption: looked at after each write.
        questions_at_once: questions between two writes; a responder that does not stream is asked so many at once.
        samples: responses drawn for each question; more than one needs a responder that streams.

    Raises:
        RecipeError: several responses are asked of a responder that gives one.
        RunFolderError: the folder holds responses to other questions or of another model, or is damaged.
        StorageError: it cannot be written.
        StoppedBySignal: an interruption was asked for; what was answered is kept.
    """
    _claim(folder / system.name / "inputs.json", inputs or {})
    runs = [_Run(responder, benchmark, _file_of(folder, system, benchmark), samples) for benchmark in benchmarks]
    clock = _Clock(sum(len(run.pending) for run in runs))
    total = sum(len(run.benchmark.questions) for run in runs)
    for run in runs:
        _tell(progress, system, run, total, clock)
        with closing(run.ask(questions_at_once)) as asking:
            while not (interruption and interruption.requested):
                kept = next(asking, None)
                if kept is None:
                    break
                clock.left -= kept
                _tell(progress, system, run, total, clock)
        if interruption and interruption.requested and clock.left:
            raise interruption.stop(f"stopped after {total - clock.left} of {total} questions")
    scores = SystemScores(system.name, system.title, tuple(_by_benchmark(runs)))
    _keep(folder / SCORES, scores)
    analyse(folder, read_scores(folder / SCORES))
    return scores


def read_scores(path: Path) -> list[SystemScores]:
    """Every system in a `scores.json`, in the order they were evaluated; none if there is no file.

    Raises:
        RunFolderError: the file is damaged.
    """
    if not path.exists():
        return []
    content = read_json(path)
    try:
        return from_json(content)
    except (KeyError, TypeError, AttributeError):
        raise RunFolderError("is damaged: not lilift's scores", where=path, remedy="delete it and evaluate again") from None


class _Run:
    """One benchmark in one language, its kept answers and what is still to be asked."""

    def __init__(self, responder: Responder, benchmark: Benchmark, path: Path, samples: int) -> None:
        self.benchmark = benchmark
        self._responder = responder
        self._samples = samples
        self._file = JsonLines(path)
        self._answers = _kept_answers(self._file, benchmark)
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
                yield _line(question, self.benchmark, [Response(0, text)], cut=cut)

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
                    yield _line(self.pending[place], self.benchmark, gathered.pop(place), cut=cuts[place])

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
        )


@dataclass
class _Clock:
    """Estimates the time that the questions still to be asked will take."""

    left: int

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._at_first = self.left

    @property
    def seconds_left(self) -> float | None:
        asked = self._at_first - self.left
        return (time.monotonic() - self._began) / asked * self.left if asked else None


def _answer(question: Question, benchmark: Benchmark, response: str, *, cut: bool) -> dict[str, Any]:
    """One line of a file of generations."""
    judged = judge(question, response, benchmark=benchmark.name, language=benchmark.language)
    return {
        "id": question.id,
        "question": question.text,
        "gold": question.gold if isinstance(question.gold, str) else plain_number(question.gold),
        "response": response,
        "extracted": judged.extracted,
        "correct": judged.correct,
        "published": judged.published,
        "cut": cut,
    }


def _line(question: Question, benchmark: Benchmark, responses: Sequence[Response], *, cut: bool) -> dict[str, Any]:
    """One line of a file of generations, from all the responses to a question."""
    answers = [_answer(question, benchmark, response.text, cut=cut) for response in responses]
    place = voted([answer["extracted"] for answer in answers])
    line = answers[place]
    if responses[place].tokens is not None:
        line |= {"tokens": responses[place].tokens, "ended": responses[place].ended}
    if len(responses) > 1:
        line |= {"responses": [one.text for one in responses], "passed": [answer["correct"] for answer in answers]}
    return line


def _kept_answers(file: JsonLines, benchmark: Benchmark) -> dict[str, dict[str, Any]]:
    """The kept answers to this benchmark's questions by id, read and judged anew.

    Raises:
        RunFolderError: an answer belongs to another question.
    """
    questions = {question.id: question for question in benchmark.questions}
    answers: dict[str, dict[str, Any]] = {}
    kept = file.read()
    for line in kept:
        question = questions.get(str(line.get("id")))
        if question is None or question.id in answers:
            continue
        if line.get("question") != question.text or not isinstance(line.get("response"), str):
            raise RunFolderError(
                f"holds an answer to another question with id {question.id!r}",
                where=file.path,
                remedy="delete the file, or evaluate into another folder",
            )
        answers[question.id] = _judged_anew(line, question, benchmark)
    judged = [answers.get(str(line.get("id")), line) for line in kept]
    if judged != kept:
        file.rewrite(judged)
    return answers


def _judged_anew(line: Mapping[str, Any], question: Question, benchmark: Benchmark) -> dict[str, Any]:
    """A kept line as today's judgement has it."""
    drawn = line.get("responses")
    texts = [str(text) for text in drawn] if isinstance(drawn, list) and drawn else [line["response"]]
    judged = _line(question, benchmark, [Response(0, text) for text in texts], cut=bool(line.get("cut")))
    same = judged["response"] == line["response"]
    known = {name: line[name] for name in ("tokens", "ended") if same and name in line}
    several = {name: judged.pop(name) for name in ("responses", "passed") if name in judged}
    return judged | known | several


def _file_of(folder: Path, system: System, benchmark: Benchmark) -> Path:
    return folder / system.name / benchmark.name / f"{benchmark.language}.jsonl"


def _claim(path: Path, inputs: Mapping[str, Any]) -> None:
    """Note what the responses depend on, or refuse a folder whose responses depend on something else."""
    if path.exists() and read_json(path) != inputs:
        raise RunFolderError(
            "this folder holds responses of another model or with other settings",
            where=path.parent,
            remedy="evaluate into another folder, or delete this one",
        )
    write_json(path, dict(inputs))


def _tell(progress: ProgressCallback | None, system: System, run: _Run, total: int, clock: _Clock) -> None:
    if progress is not None:
        benchmark = run.benchmark
        progress(
            Progress(
                system.title,
                benchmark.name,
                benchmark.language,
                run.done,
                len(benchmark.questions),
                run.accuracy,
                total - clock.left,
                total,
                clock.seconds_left,
            )
        )


def _by_benchmark(runs: Sequence[_Run]) -> list[BenchmarkScores]:
    names = dict.fromkeys(run.benchmark.name for run in runs)
    return [score_benchmark(name, [run.score() for run in runs if run.benchmark.name == name]) for name in names]


def _keep(path: Path, scores: SystemScores) -> None:
    """Put one system's scores into `scores.json`: in its old place, or last."""
    systems = {kept.system: kept for kept in read_scores(path)} | {scores.system: scores}
    write_json(path, as_json(list(systems.values())))
