"""One path from questions to scores, for the recipe's evaluate phase and for `lilift eval`.

    evaluate/
      scores.json                             every system's scores
      <system>/inputs.json                    what the responses depend on
      <system>/<benchmark>/<language>.jsonl   id, question, gold, response, extracted, correct, cut: one line a question

Every response is on the disk before the next questions are asked; after an interruption the rows that are there are not
generated again. Scores are always counted from the kept responses, so a second evaluation of the same folder asks nothing and
prints the same scores.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from lilift.evaluate.answers import correct, extract_number
from lilift.evaluate.benchmarks import Benchmark, Question, load_benchmark
from lilift.evaluate.generation import CutsQuestions, Responder
from lilift.evaluate.scores import (
    BenchmarkScores,
    LanguageScore,
    SystemScores,
    as_json,
    from_json,
    score_benchmark,
    score_language,
)
from lilift.recipe.errors import DataError, LiliftError, RunFolderError
from lilift.recipe.interrupt import Interruption
from lilift.recipe.schema import BenchmarkSettings
from lilift.recipe.storage import JsonLines, read_json, write_json

SCORES = "scores.json"
QUESTIONS_AT_ONCE = 64
"""Questions between two writes to the disk; the responder batches them by its own budget."""


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
        DataError: a benchmark is named twice; and see `load_benchmark`.
    """
    names = [one.name for one in settings]
    if len(set(names)) < len(names):
        raise DataError("a benchmark is named twice", where="evaluate.benchmarks", remedy="name its languages in one entry")
    return [
        load_benchmark(one, language, seed=seed)
        for one in settings
        for language in dict.fromkeys(one.languages or ("en", *languages))
    ]


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
        questions_at_once: questions between two writes.

    Raises:
        RunFolderError: the folder holds responses to other questions or of another model, or is damaged.
        StorageError: it cannot be written.
        StoppedBySignal: an interruption was asked for; what was answered is kept.
    """
    _claim(folder / system.name / "inputs.json", inputs or {})
    runs = [_Run(responder, benchmark, _file_of(folder, system, benchmark)) for benchmark in benchmarks]
    clock = _Clock(sum(len(run.pending) for run in runs))
    total = sum(len(run.benchmark.questions) for run in runs)
    for run in runs:
        _tell(progress, system, run, total, clock)
        while run.pending:
            if interruption and interruption.requested:
                raise interruption.stop(f"stopped after {total - clock.left} of {total} questions")
            clock.left -= run.ask(questions_at_once)
            _tell(progress, system, run, total, clock)
    scores = SystemScores(system.name, system.title, tuple(_by_benchmark(runs)))
    _keep(folder / SCORES, scores)
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

    def __init__(self, responder: Responder, benchmark: Benchmark, path: Path) -> None:
        self.benchmark = benchmark
        self._responder = responder
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

    def ask(self, count: int) -> int:
        """Ask and keep the next questions; returns how many they were."""
        asked, self.pending = self.pending[:count], self.pending[count:]
        texts = [question.text for question in asked]
        responses = self._responder.answer(texts)
        if len(responses) != len(asked):
            raise LiliftError(f"{len(asked)} questions were asked and {len(responses)} answered", where=self.benchmark.name)
        cuts = self._responder.cuts(texts) if isinstance(self._responder, CutsQuestions) else [False] * len(asked)
        answers = [
            _answer(question, self.benchmark.language, response, cut=cut)
            for question, response, cut in zip(asked, responses, cuts, strict=True)
        ]
        self._file.append(*answers)
        self._answers |= {answer["id"]: answer for answer in answers}
        return len(asked)

    def score(self) -> LanguageScore:
        answers = self._answers.values()
        return score_language(
            self.benchmark.language,
            questions=len(self.benchmark.questions),
            correct=sum(answer["correct"] for answer in answers),
            missing=sum(answer["extracted"] is None for answer in answers),
            cut=sum(answer["cut"] for answer in answers),
            rows_read=self.benchmark.rows_read,
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


def _answer(question: Question, language: str, response: str, *, cut: bool) -> dict[str, Any]:
    """One line of a file of generations."""
    number = extract_number(response, language)
    return {
        "id": question.id,
        "question": question.text,
        "gold": _plain(question.gold),
        "response": response,
        "extracted": None if number is None else _plain(number),
        "correct": correct(number, question.gold),
        "cut": cut,
    }


def _plain(number: Decimal) -> str:
    """A number without exponent and trailing zeros."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


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
        answers[question.id] = _answer(question, benchmark.language, line["response"], cut=bool(line.get("cut")))
    judged = [answers.get(str(line.get("id")), line) for line in kept]
    if judged != kept:
        file.rewrite(judged)
    return answers


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
