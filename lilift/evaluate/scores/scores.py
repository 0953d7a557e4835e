"""Computes scores: right and missing answers by language, by resource tier and on average.

A response without a number is wrong *and* missing; lilift counts both separately. Averages are macro averages: every language
counts the same. English is left out, because the LLM knew it before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lilift.data.languages import Tier
from lilift.data.languages import language as known_language

TIERS: tuple[Tier, ...] = ("low", "medium", "high")
TIERS_EXPLAINED = (
    "how much text of a language exists for training (low, medium, high), as the benchmark MMWP groups languages; every other "
    "language counts as low"
)
_Z = 1.959963984540054  # the normal distribution's 97.5% quantile


@dataclass(frozen=True)
class LanguageScore:
    """The score of one system in one language.

    Attributes:
        language: code.
        name: English name.
        tier: resource tier in MMWP; languages outside it count as low.
        questions: number of questions.
        correct: number of right answers.
        missing: number of responses without an answer; none of them counts as right.
        cut: number of questions that were longer than the encoder's limit, so that it read only their beginning.
        rows_read: number of rows in the source of the benchmark.
        sound: number of questions whose rows have no known fault.
        sound_correct: number of right answers among these.
        published_correct: number of right answers by the authors' scoring.
        published_only: number of these that lilift counts as wrong.
        accuracy: share of right answers.
        low, high: Wilson's 95% interval of the accuracy.
        empty: number of empty responses; they are part of the missing ones.
    """

    language: str
    name: str
    tier: Tier
    questions: int
    correct: int
    missing: int
    cut: int
    rows_read: int
    sound: int
    sound_correct: int
    published_correct: int
    published_only: int
    accuracy: float
    low: float
    high: float
    empty: int = 0

    @property
    def missing_rate(self) -> float:
        """Share of responses without an answer."""
        return self.missing / self.questions

    @property
    def sound_accuracy(self) -> float | None:
        """Share of right answers on the sound rows; None if there are no sound rows."""
        return self.sound_correct / self.sound if self.sound else None

    @property
    def published_accuracy(self) -> float:
        """Share of answers that the authors' scoring counts as right."""
        return self.published_correct / self.questions

    @property
    def lilift_only(self) -> int:
        """Number of answers that lilift counts as right and the authors' scoring as wrong."""
        return self.correct - (self.published_correct - self.published_only)


@dataclass(frozen=True)
class TierScore:
    """Macro average over the languages of a tier, without English."""

    tier: Tier
    languages: tuple[str, ...]
    accuracy: float


@dataclass(frozen=True)
class BenchmarkScores:
    """All languages of one benchmark; `macro` is None if English is the only one."""

    benchmark: str
    languages: tuple[LanguageScore, ...]
    tiers: tuple[TierScore, ...]
    macro: float | None


@dataclass(frozen=True)
class SystemScores:
    """One system (a model in one state) on every benchmark that it was evaluated on."""

    system: str
    title: str
    benchmarks: tuple[BenchmarkScores, ...]


@dataclass(frozen=True)
class TableRow:
    """One system's accuracies: by language in the order of the table, and on average. None means not evaluated."""

    title: str
    accuracies: tuple[float | None, ...]
    macro: float | None


@dataclass(frozen=True)
class Table:
    """A table of systems × languages of one benchmark, ready to print. Accuracies are shares from 0 to 1."""

    benchmark: str
    languages: tuple[str, ...]
    names: tuple[str, ...]
    rows: tuple[TableRow, ...]


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """The 95% score interval of a share (Wilson 1927), which is reliable for small samples and for shares near 0 and 1.

    Args:
        correct: successes, 0 … `total`.
        total: trials, at least 1.
    """
    share = correct / total
    scale = 1 + _Z**2 / total
    middle = (share + _Z**2 / (2 * total)) / scale
    half = _Z / scale * math.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))  # rounding must not exclude the share


def score_language(
    language: str,
    *,
    questions: int,
    correct: int,
    missing: int,
    cut: int,
    rows_read: int,
    sound: int,
    sound_correct: int,
    published_correct: int,
    published_only: int,
    empty: int = 0,
) -> LanguageScore:
    """Turn the counts of one language into a score."""
    known = known_language(language)
    low, high = wilson_interval(correct, questions)
    return LanguageScore(
        language=language,
        name=known.name,
        tier=known.tier or "low",
        questions=questions,
        correct=correct,
        missing=missing,
        cut=cut,
        rows_read=rows_read,
        sound=sound,
        sound_correct=sound_correct,
        published_correct=published_correct,
        published_only=published_only,
        accuracy=correct / questions,
        low=low,
        high=high,
        empty=empty,
    )


def by_published_scoring(system: SystemScores) -> SystemScores:
    """The same system, with every accuracy computed by the authors' scoring."""
    return SystemScores(
        system.system,
        system.title,
        tuple(
            score_benchmark(scores.benchmark, [_published(score) for score in scores.languages]) for scores in system.benchmarks
        ),
    )


def _published(score: LanguageScore) -> LanguageScore:
    low, high = wilson_interval(score.published_correct, score.questions)
    return replace(
        score,
        correct=score.published_correct,
        accuracy=score.published_accuracy,
        low=low,
        high=high,
        sound=score.questions,  # the authors leave no row out
        sound_correct=score.published_correct,
    )


def score_benchmark(benchmark: str, languages: Sequence[LanguageScore]) -> BenchmarkScores:
    """Put the languages of one benchmark together."""
    counted = [score for score in languages if score.language != "en"]
    tiers = tuple(
        TierScore(tier, tuple(score.language for score in members), _mean([score.accuracy for score in members]))
        for tier in TIERS
        if (members := [score for score in counted if score.tier == tier])
    )
    macro = _mean([score.accuracy for score in counted]) if counted else None
    return BenchmarkScores(benchmark, tuple(languages), tiers, macro)


def tables(systems: Sequence[SystemScores]) -> list[Table]:
    """One table for each benchmark: a row for each system, in the order given; languages in the order of their evaluation."""
    found = []
    for benchmark in dict.fromkeys(scores.benchmark for system in systems for scores in system.benchmarks):
        asked = {system.system: on_benchmark(system, benchmark) for system in systems}
        names = {score.language: score.name for scores in asked.values() if scores for score in scores.languages}
        rows = [
            TableRow(system.title, tuple(_accuracy(scores, code) for code in names), scores.macro)
            for system in systems
            if (scores := asked[system.system])
        ]
        found.append(Table(benchmark, tuple(names), tuple(names.values()), tuple(rows)))
    return found


def as_json(systems: Sequence[SystemScores]) -> dict[str, Any]:
    """The content of `scores.json`."""
    return {"format": 1, "systems": [asdict(system) for system in systems]}


def from_json(content: Mapping[str, Any]) -> list[SystemScores]:
    """Read what `as_json` returned; KeyError or TypeError if the content is something else."""
    return [
        SystemScores(system["system"], system["title"], tuple(_benchmark(scores) for scores in system["benchmarks"]))
        for system in content["systems"]
    ]


def _benchmark(content: Mapping[str, Any]) -> BenchmarkScores:
    return BenchmarkScores(
        content["benchmark"],
        tuple(LanguageScore(**score) for score in content["languages"]),
        tuple(TierScore(tier["tier"], tuple(tier["languages"]), tier["accuracy"]) for tier in content["tiers"]),
        content["macro"],
    )


def on_benchmark(system: SystemScores, benchmark: str) -> BenchmarkScores | None:
    """A system's scores on one benchmark; None if it was not evaluated on it."""
    return next((scores for scores in system.benchmarks if scores.benchmark == benchmark), None)


def _accuracy(scores: BenchmarkScores, language: str) -> float | None:
    return next((score.accuracy for score in scores.languages if score.language == language), None)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
