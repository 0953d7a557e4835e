"""Runs benchmarks on a model and computes scores, for the evaluate phase of a recipe and for `lilift eval`.

    evaluate/
      scores.json                             every system's scores; also scores.csv and scores.md
      analysis.json                           length and language of responses, agreement across languages
      <system>/inputs.json                    the settings and weights that the responses depend on
      <system>/cost.json                      seconds, questions and memory; see `answering_cost.py`
      <system>/<benchmark>/questions.json     custom benchmarks only: a digest of the questions of each language
      <system>/<benchmark>/<language>.jsonl   one line for each question: id, question, gold, response, extracted, correct,
                                              published (right by the authors' scoring), cut; with a translator or a
                                              route also what `described_questions.py` lists

Each response is on the disk a few seconds after the model has written it. An evaluation that was interrupted does not generate
these responses again. If the model draws several responses to a question, its line also has `responses` and `passed` (which of
them are right). Then `response` is the first response with the most common answer. Scores are always counted from the stored
responses, so a second evaluation of the same folder generates nothing and prints the same scores.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lilift.evaluate.answering_cost import recorded_cost
from lilift.evaluate.benchmarks.benchmark import LIKELIHOOD_SUFFIX, Benchmark, check_alignment, load_benchmark
from lilift.evaluate.benchmarks.benchmark_languages import IN_RECIPE, check_languages, evaluated_languages, naming_setting
from lilift.evaluate.benchmarks.custom.custom_benchmark import read_custom
from lilift.evaluate.language_evaluation import LanguageEvaluation
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
from lilift.recipe.sealed_records import read_record, write_record
from lilift.recipe.storage import read_json, write_json

SCORES = "scores.json"
QUESTIONS = "questions.json"
"""In the folder of a custom benchmark: the digest of its questions by language."""
_IN_WORDS = {"template": "prompt template", "max_new_tokens": "longest response", "samples": "samples"}
"""Names for the inputs whose values a user has chosen; the other inputs are fingerprints."""
QUESTIONS_AT_ONCE = 64
"""Questions between two writes to the disk."""


@dataclass(frozen=True)
class System:
    """A model in one state of its training: `name` is its folder, and `title` is its name in tables."""

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


def load_benchmarks(
    settings: Sequence[BenchmarkSettings], languages: Sequence[str], *, seed: int, setting: str = IN_RECIPE
) -> list[Benchmark]:
    """Load the questions of every benchmark and language, before a model answers any of them.

    Args:
        settings: the benchmarks.
        languages: used together with English for each benchmark that names no languages itself.
        seed: draws the questions of `world`.
        setting: names the languages in errors; see `check_languages`.

    Raises:
        DataError: a benchmark is named twice, lacks a language, or its languages hold different rows; and see `load_benchmark`.
    """
    own = [(read_custom(one).name.casefold(), one.labels) for one in settings if one.name == "custom"]
    if len(set(own)) < len(own):
        name = next(name for name, _ in own if own.count((name, "generation")) > 1 or own.count((name, "likelihood")) > 1)
        raise DataError(
            f"two benchmarks have the same name in results, {name}", where="evaluate.benchmarks", remedy="give one a `title`"
        )
    listed = [(one.name, one.labels) for one in settings if one.name != "custom"]
    if len(set(listed)) < len(listed):
        raise DataError(
            "the same benchmark is listed twice", where="evaluate.benchmarks", remedy="list all its languages in one entry"
        )
    check_languages(settings, languages, setting=setting)
    loaded = []
    for number, one in enumerate(settings):
        with naming_setting(setting.format(number)):
            loaded += [load_benchmark(one, language, seed=seed) for language in evaluated_languages(one, languages)]
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
    """Let a system answer every question that it has not answered yet, and compute its scores.

    Args:
        responder: answers the questions.
        benchmarks: the questions; see `load_benchmarks`.
        folder: where responses and scores are stored; it may also hold those of other systems.
        system: which model this is.
        inputs: plain JSON values that the responses depend on (weights, limits, template). The folder is refused if its
            responses were made with other values.
        progress: called after each write.
        interruption: checked after each write.
        questions_at_once: questions between two writes; a responder that does not stream gets this many at once.
        samples: responses drawn for each question; more than one needs a responder that streams.

    Raises:
        RecipeError: the responder cannot give several responses, or cannot compute likelihoods, and the settings need it.
        RunFolderError: the folder holds responses to other questions or of another model, or is damaged.
        StorageError: the folder cannot be written.
        StoppedBySignal: the user or the system asked to stop; the responses so far are stored.
    """
    _claim(folder / system.name / "inputs.json", inputs or {})
    for benchmark in benchmarks:
        _claim_questions(folder / system.name / benchmark.name, benchmark)
    runs = [LanguageEvaluation(responder, benchmark, _file_of(folder, system, benchmark), samples) for benchmark in benchmarks]
    clock = _Clock(sum(len(run.pending) for run in runs))
    total = sum(len(run.benchmark.questions) for run in runs)
    for run in runs:
        _report(progress, system, run, total, clock)
        cost = recorded_cost(folder / system.name, run.benchmark.name)
        with cost as meter, closing(run.answer_pending(questions_at_once)) as writes:
            while not (interruption and interruption.requested):
                written = next(writes, None)
                if written is None:
                    break
                clock.left -= written
                meter.answered(written)
                _report(progress, system, run, total, clock)
        if interruption and interruption.requested and clock.left:
            raise interruption.stop(f"stopped after {total - clock.left} of {total} questions")
    scores = SystemScores(system.name, system.title, tuple(_by_benchmark(runs)))
    _keep(folder / SCORES, scores)
    analyse(folder, read_scores(folder / SCORES))
    return scores


def read_scores(path: Path) -> list[SystemScores]:
    """Every system in a `scores.json`, in the order of their evaluations; an empty list if there is no file.

    Raises:
        RunFolderError: the file is damaged.
    """
    if not path.exists():
        return []
    content = read_json(path)
    try:
        return from_json(content)
    except (KeyError, TypeError, AttributeError):
        raise RunFolderError(
            "the file is damaged: lilift cannot read scores from it", where=path, remedy="delete the file and evaluate again"
        ) from None


@dataclass
class _Clock:
    """Estimates how long the model needs for the questions that are left."""

    left: int

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._at_first = self.left

    @property
    def seconds_left(self) -> float | None:
        answered = self._at_first - self.left
        return (time.monotonic() - self._began) / answered * self.left if answered else None


def _file_of(folder: Path, system: System, benchmark: Benchmark) -> Path:
    return folder / system.name / benchmark.name / f"{benchmark.language}.jsonl"


def _claim(path: Path, inputs: Mapping[str, Any]) -> None:
    """Record what the responses depend on; refuse a folder whose responses depend on something else."""
    remedy = "restore it from a copy, or delete this file if the answers beside it are of the same model; they stay"
    kept = read_record(path, remedy=remedy) if path.exists() else inputs
    if kept != inputs:
        raise RunFolderError(
            f"this folder holds responses {_difference(kept, inputs)}",
            where=path.parent,
            remedy="choose another folder for this evaluation, or delete this one with its answers",
        )
    write_record(path, inputs)


def _claim_questions(folder: Path, benchmark: Benchmark) -> None:
    """Record which questions a folder holds responses to; refuse responses to questions that the user has changed since."""
    if not benchmark.fingerprint:
        return
    record = folder / QUESTIONS
    known = read_json(record) if record.exists() else {}
    kept = known.get(benchmark.language, benchmark.fingerprint)
    if kept != benchmark.fingerprint and (folder / f"{benchmark.language}.jsonl").exists():
        raise RunFolderError(
            f"the questions or right answers in {benchmark.language!r} have changed since these responses were made",
            where=folder,
            remedy="choose another folder for this evaluation, or delete this one to answer all questions again",
        )
    write_json(record, known | {benchmark.language: benchmark.fingerprint})


def changed_since(folder: Path, settings: Sequence[BenchmarkSettings]) -> list[Path]:
    """The files of custom benchmarks whose questions or right answers are others than those that the folder has responses to.

    A file that is gone or damaged is not in the list, because lilift cannot compare it.
    """
    changed = []
    for one in (one for one in settings if one.name == "custom"):
        try:
            own = read_custom(one)
        except DataError:
            continue
        name = own.name + (LIKELIHOOD_SUFFIX if one.labels == "likelihood" else "")
        for record in folder.glob(f"*/{name}/{QUESTIONS}"):
            kept = read_json(record).items()
            if any(code in own.languages and own.fingerprint(code) != digest for code, digest in kept):
                changed.append(own.path)
                break
    return changed


def _difference(kept: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """How the inputs of the stored responses differ from those of today, in words; fingerprints are named without a value."""
    changed = [name for name in {**kept, **now} if kept.get(name) != now.get(name)]
    parts = [f"with the {_IN_WORDS[name]} {kept.get(name)!r}, not {now.get(name)!r}" for name in changed if name in _IN_WORDS]
    return " and ".join(parts) or f"of another model or with other settings (changed: {', '.join(sorted(changed))})"


def _report(progress: ProgressCallback | None, system: System, run: LanguageEvaluation, total: int, clock: _Clock) -> None:
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


def _by_benchmark(runs: Sequence[LanguageEvaluation]) -> list[BenchmarkScores]:
    names = dict.fromkeys(run.benchmark.name for run in runs)
    return [score_benchmark(name, [run.score() for run in runs if run.benchmark.name == name]) for name in names]


def _keep(path: Path, scores: SystemScores) -> None:
    """Put one system's scores into `scores.json`: in its old place, or at the end if it is new."""
    systems = {kept.system: kept for kept in read_scores(path)} | {scores.system: scores}
    write_json(path, as_json(list(systems.values())))
