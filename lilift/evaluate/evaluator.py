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
these responses again. A complete file is in the order of the questions. If the model draws several responses to a question, its
line also has `responses` and `passed` (which of them are right). Then `response` is the first response with the most common
answer. Scores are always counted from the stored responses, so a second evaluation of the same folder generates nothing and
prints the same scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.evaluate.answer_loop import QUESTIONS_AT_ONCE, ProgressCallback, answer_all
from lilift.evaluate.benchmarks.benchmark import Benchmark, check_alignment, load_benchmark
from lilift.evaluate.benchmarks.benchmark_languages import IN_RECIPE, check_languages, evaluated_languages, naming_setting
from lilift.evaluate.benchmarks.custom.custom_benchmark import read_custom
from lilift.evaluate.claimed_answers import INPUTS, claim_answers, claim_questions
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
from lilift.memory.host_allocator import freed_blocks_kept
from lilift.recipe.errors import DataError, RunFolderError
from lilift.recipe.interrupt import Interruption
from lilift.recipe.schema import BenchmarkSettings
from lilift.recipe.storage import read_json, write_json

# This module imports torch, and lilift evaluates exports on machines without torch.
if TYPE_CHECKING:
    from lilift.processes.joined_processes import Processes

SCORES = "scores.json"


@dataclass(frozen=True)
class System:
    """A model in one state of its training: `name` is its folder, and `title` is its name in tables."""

    name: str
    title: str


UNTRAINED = System("untrained", "before training")
CONTROL = System("control", "without stage 1")
LIFTED = System("lifted", "both stages")


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
    processes: Processes | None = None,
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
        processes: those that answer together, if there are several; this is the first one. See `answer_share` for the others.

    Raises:
        RecipeError: the responder cannot give several responses, or cannot compute likelihoods, and the settings need it.
        RunFolderError: the folder holds responses to other questions or of another model, or is damaged.
        StorageError: the folder cannot be written.
        StoppedBySignal: the user or the system asked to stop; the responses so far are stored.
        ProcessLost: another process has ended; the responses so far are stored.
    """
    own = folder / system.name
    claim_answers(own / INPUTS, inputs or {})
    for benchmark in benchmarks:
        claim_questions(own / benchmark.name, benchmark)
    runs = [LanguageEvaluation(responder, benchmark, file_of(own, benchmark), samples) for benchmark in benchmarks]
    with freed_blocks_kept():
        answer_all(
            runs,
            own,
            system.title,
            progress=progress,
            interruption=interruption,
            questions_at_once=questions_at_once,
            processes=processes,
        )
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


def file_of(folder: Path, benchmark: Benchmark) -> Path:
    """The file of the answers to a benchmark in a system's folder."""
    return folder / benchmark.name / f"{benchmark.language}.jsonl"


def _by_benchmark(runs: Sequence[LanguageEvaluation]) -> list[BenchmarkScores]:
    names = dict.fromkeys(run.benchmark.name for run in runs)
    return [score_benchmark(name, [run.score() for run in runs if run.benchmark.name == name]) for name in names]


def _keep(path: Path, scores: SystemScores) -> None:
    """Put one system's scores into `scores.json`: in its old place, or at the end if it is new."""
    systems = {kept.system: kept for kept in read_scores(path)} | {scores.system: scores}
    write_json(path, as_json(list(systems.values())))
