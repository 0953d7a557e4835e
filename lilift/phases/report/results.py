"""What the report says of each benchmark: averages, one row a language, tiers, sample questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lilift.evaluate.scores import BenchmarkScores, LanguageScore, SystemScores
from lilift.phases.report.files import RunFiles
from lilift.phases.report.samples import Sample, samples_of

_BENCHMARKS = {
    "world": "Generated word problems whose sentence patterns and numbers were held out of training. Foreign questions are "
    "real words of real languages in a rough sketch of their word order, without inflection: a demonstration of the method, "
    "not a measure of these languages.",
    "mmwp": "MMWP: math word problems, machine-translated by its authors.",
    "mgsm": "MGSM: grade-school math problems, translated by people.",
}
_STYLES = {"untrained": "a", "control": "b", "lifted": "c"}


@dataclass(frozen=True)
class Result:
    """One system in one language; no score where it was not asked."""

    style: str
    title: str
    score: LanguageScore | None


@dataclass(frozen=True)
class LanguageRow:
    """One language with all systems' results."""

    code: str
    name: str
    tier: str
    questions: int
    results: tuple[Result, ...]


@dataclass(frozen=True)
class Mean:
    """A system's macro average over some languages."""

    style: str
    title: str
    accuracy: float | None


@dataclass(frozen=True)
class BenchmarkSection:
    """All that the report says of one benchmark."""

    name: str
    description: str
    headline: tuple[Mean, ...]
    averaged: int
    rows: tuple[LanguageRow, ...]
    tiers: tuple[tuple[str, int, tuple[Mean, ...]], ...]
    samples: tuple[tuple[str, tuple[Sample, ...]], ...]

    @property
    def questions(self) -> int | None:
        """How many questions each language was asked, if all were asked as many."""
        counts = {row.questions for row in self.rows}
        return counts.pop() if len(counts) == 1 else None

    @property
    def cut(self) -> bool:
        """Whether any question was too long to be read whole."""
        return any(result.score and result.score.cut for row in self.rows for result in row.results)


def _style(system: str, place: int) -> str:
    return _STYLES.get(system, "abcd"[place % 4])


def benchmark_sections(systems: Sequence[SystemScores], files: RunFiles) -> list[BenchmarkSection]:
    names = dict.fromkeys(scores.benchmark for system in systems for scores in system.benchmarks)
    return [_section(name, systems, files) for name in names]


def _section(name: str, systems: Sequence[SystemScores], files: RunFiles) -> BenchmarkSection:
    asked = [
        (_style(system.system, place), system, scores)
        for place, system in enumerate(systems)
        for scores in system.benchmarks
        if scores.benchmark == name
    ]
    languages = {score.language: score for _, _, scores in asked for score in scores.languages}
    rows = tuple(
        LanguageRow(
            code,
            any_score.name,
            "" if code == "en" else any_score.tier,
            any_score.questions,
            tuple(Result(style, system.title, _score(scores, code)) for style, system, scores in asked),
        )
        for code, any_score in languages.items()
    )
    tiers = dict.fromkeys(tier.tier for _, _, scores in asked for tier in scores.tiers)
    samples = tuple(
        (row.name, found)
        for row in rows
        if (found := samples_of([(s.title, files.lines(f"evaluate/{s.system}/{name}/{row.code}.jsonl")) for _, s, _ in asked]))
    )
    return BenchmarkSection(
        name,
        _BENCHMARKS.get(name, ""),
        tuple(Mean(style, system.title, scores.macro) for style, system, scores in asked),
        sum(code != "en" for code in languages),
        rows,
        tuple((tier, *_tier(tier, asked)) for tier in tiers),
        samples,
    )


def _tier(tier: str, asked: Sequence[tuple[str, SystemScores, BenchmarkScores]]) -> tuple[int, tuple[Mean, ...]]:
    found = [next((one for one in scores.tiers if one.tier == tier), None) for _, _, scores in asked]
    count = max(len(one.languages) for one in found if one)
    means = tuple(
        Mean(style, system.title, one.accuracy if one else None) for (style, system, _), one in zip(asked, found, strict=True)
    )
    return count, means


def _score(scores: BenchmarkScores, language: str) -> LanguageScore | None:
    return next((score for score in scores.languages if score.language == language), None)
