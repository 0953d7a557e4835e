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
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lilift.evaluate.benchmarks.benchmark import Benchmark, check_alignment, load_benchmark
from lilift.evaluate.language_evaluation import Asking
from lilift.evaluate.responders import Responder
from lilift.evaluate.scores.response_analysis import analyse
from lilift.evaluate.scores.scores import (
    BenchmarkScores,
    SystemScores,
    as_json,
    from_json,
    score_benchmark,
)
from lilift.recipe.errors import DataError, RunFolderError
from lilift.recipe.interrupt import Interruption
from lilift.recipe.schema import BenchmarkSettings
from lilift.recipe.storage import read_json, write_json

SCORES = "scores.json"
_IN_WORDS = {"template": "prompt template", "max_new_tokens": "longest response", "samples": "samples"}
"""Names of inputs whose values people know."""
QUESTIONS_AT_ONCE = 64
"""Questions between two writes to the disk."""


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
    asked = [(one.name, one.labels) for one in settings]
    if len(set(asked)) < len(asked):
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
        RecipeError: several responses are asked of a responder that gives one, or likelihoods of one that knows none.
        RunFolderError: the folder holds responses to other questions or of another model, or is damaged.
        StorageError: it cannot be written.
        StoppedBySignal: an interruption was asked for; what was answered is kept.
    """
    _claim(folder / system.name / "inputs.json", inputs or {})
    runs = [Asking(responder, benchmark, _file_of(folder, system, benchmark), samples) for benchmark in benchmarks]
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


def _file_of(folder: Path, system: System, benchmark: Benchmark) -> Path:
    return folder / system.name / benchmark.name / f"{benchmark.language}.jsonl"


def _claim(path: Path, inputs: Mapping[str, Any]) -> None:
    """Note what the responses depend on, or refuse a folder whose responses depend on something else."""
    kept = read_json(path) if path.exists() else inputs
    if kept != inputs:
        raise RunFolderError(
            f"this folder holds responses {_told_difference(kept, inputs)}",
            where=path.parent,
            remedy="evaluate into another folder, or delete this one",
        )
    write_json(path, dict(inputs))


def _told_difference(kept: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What kept responses were made with, where they were made with something else; fingerprints say nothing to people."""
    changed = [name for name in {**kept, **now} if kept.get(name) != now.get(name)]
    told = [f"with the {_IN_WORDS[name]} {kept.get(name)!r}, not {now.get(name)!r}" for name in changed if name in _IN_WORDS]
    return " and ".join(told) or f"of another model or with other settings ({', '.join(sorted(changed))})"


def _tell(progress: ProgressCallback | None, system: System, run: Asking, total: int, clock: _Clock) -> None:
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


def _by_benchmark(runs: Sequence[Asking]) -> list[BenchmarkScores]:
    names = dict.fromkeys(run.benchmark.name for run in runs)
    return [score_benchmark(name, [run.score() for run in runs if run.benchmark.name == name]) for name in names]


def _keep(path: Path, scores: SystemScores) -> None:
    """Put one system's scores into `scores.json`: in its old place, or last."""
    systems = {kept.system: kept for kept in read_scores(path)} | {scores.system: scores}
    write_json(path, as_json(list(systems.values())))
