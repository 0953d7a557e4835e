"""What the report says of each benchmark: averages, one row a language, tiers, sample questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lilift.evaluate.benchmarks.benchmark import LIKELIHOOD_SUFFIX, SAMPLE_SUFFIX, published_name
from lilift.evaluate.scores.response_analysis import Profiles, ResponseProfile
from lilift.evaluate.scores.scores import BenchmarkScores, LanguageScore, SystemScores
from lilift.phases.report.sample_questions import Sample, samples_of
from lilift.recipe.schema import WITH_LABELS

_BENCHMARKS = {
    "world": (
        "World",
        "Generated word problems whose sentence patterns and numbers were held out of training. Foreign questions are real "
        "words of real languages in a rough sketch of their word order, without inflection: a demonstration of the method, not "
        "a measure of these languages.",
    ),
    "mmwp": ("MMWP", "Math word problems, machine-translated by the benchmark's authors."),
    "mgsm": ("MGSM", "Grade-school math problems, translated by people."),
    "msvamp": ("MSVAMP", "SVAMP's math word problems in ten languages."),
    "xnli": ("XNLI", "Whether a premise entails a hypothesis, contradicts it, or neither; by chance 33%."),
    "xcsqa": ("X-CSQA", "Common-sense questions with five choices, machine-translated by its authors; by chance 20%."),
}
_SAMPLE = "Only a few rows of lilift's own: they show that everything works, and say nothing of the model."
_LIKELIHOOD = "Nothing was written: the answer is the label that the model finds likeliest after the question."
_STYLES = {"untrained": "a", "control": "b", "lifted": "c"}


@dataclass(frozen=True)
class Result:
    """One system in one language; no score where it was not asked."""

    style: str
    title: str
    score: LanguageScore | None
    profile: ResponseProfile | None = None


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
    """A system's macro average over some languages; `tiers` has those of each tier, where there are several."""

    style: str
    title: str
    accuracy: float | None
    tiers: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class BenchmarkSection:
    """All that the report says of one benchmark.

    Attributes:
        name: in files and anchors.
        title, description: for people.
        answer: what its answers are: a number or a label.
        headline: every system's average.
        averaged: over how many languages.
        rows: the languages.
        tiers: name, number of languages and every system's average.
        samples: a language's code and name, and some of its questions.
    """

    name: str
    title: str
    description: str
    answer: str
    headline: tuple[Mean, ...]
    averaged: int
    rows: tuple[LanguageRow, ...]
    tiers: tuple[tuple[str, int, tuple[Mean, ...]], ...]
    samples: tuple[tuple[str, str, tuple[Sample, ...]], ...]

    @property
    def questions(self) -> int | None:
        """How many questions each language was asked, if all were asked as many."""
        counts = {row.questions for row in self.rows}
        return counts.pop() if len(counts) == 1 else None

    @property
    def sampled(self) -> frozenset[str]:
        """Codes of the languages that samples are shown of."""
        return frozenset(code for code, _, _ in self.samples)

    @property
    def profiled(self) -> bool:
        """Whether anything is known of what the responses are like, and they were written."""
        written = not self.name.endswith(LIKELIHOOD_SUFFIX)
        return written and any(result.profile for row in self.rows for result in row.results)

    @property
    def drawn(self) -> bool:
        """Whether several responses to a question were drawn."""
        return any(result.profile and result.profile.samples > 1 for row in self.rows for result in row.results)

    @property
    def cut(self) -> bool:
        """Whether any question was too long to be read whole."""
        return any(result.score and result.score.cut for row in self.rows for result in row.results)


def _style(system: str, place: int) -> str:
    return _STYLES.get(system, "acbd"[place % 4])


LinesOf = Callable[[str, str, str], Sequence[Mapping[str, Any]]]
"""The kept responses of a system, benchmark and language."""
_TIER_ORDER = {"": 0, "high": 1, "medium": 2, "low": 3}


def benchmark_sections(
    systems: Sequence[SystemScores], lines_of: LinesOf, profiles: Profiles | None = None
) -> list[BenchmarkSection]:
    """A section for each benchmark, its languages ordered by tier: English first, then from high to low.

    Args:
        systems: their scores, in the order of the table.
        lines_of: gives kept responses.
        profiles: what the responses are like, as far as it is known.
    """
    names = dict.fromkeys(scores.benchmark for system in systems for scores in system.benchmarks)
    return [_section(name, systems, lines_of, profiles or {}) for name in names]


def _section(name: str, systems: Sequence[SystemScores], lines_of: LinesOf, profiles: Profiles) -> BenchmarkSection:
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
            tuple(
                Result(
                    style,
                    system.title,
                    _score(scores, code),
                    profiles.get(system.system, {}).get(name, {}).get(code),
                )
                for style, system, scores in asked
            ),
        )
        for code, any_score in languages.items()
    )
    rows = tuple(sorted(rows, key=lambda row: _TIER_ORDER[row.tier]))
    tiers = dict.fromkeys(tier.tier for _, _, scores in asked for tier in scores.tiers)
    samples = tuple(
        (row.code, row.name, found)
        for row in rows
        if (found := samples_of([(system.title, lines_of(system.system, name, row.code)) for _, system, _ in asked]))
    )
    title, description = _in_words(name)
    return BenchmarkSection(
        name,
        title,
        description,
        "label" if published_name(name) in WITH_LABELS else "number",
        tuple(Mean(style, system.title, scores.macro, _by_tier(scores)) for style, system, scores in asked),
        sum(code != "en" for code in languages),
        rows,
        tuple((tier, *_tier(tier, asked)) for tier in tiers),
        samples,
    )


def _in_words(name: str) -> tuple[str, str]:
    """A benchmark's title and description."""
    title, description = _BENCHMARKS.get(published_name(name), (name, ""))
    if name.endswith(LIKELIHOOD_SUFFIX):
        title, description = f"{title}, likeliest label", f"{description} {_LIKELIHOOD}"
    if SAMPLE_SUFFIX in name:
        title, description = f"{title}, sample", f"{description} {_SAMPLE}"
    return title, description.strip()


def _by_tier(scores: BenchmarkScores) -> tuple[tuple[str, float], ...]:
    return tuple((one.tier, one.accuracy) for one in scores.tiers) if len(scores.tiers) > 1 else ()


def _tier(tier: str, asked: Sequence[tuple[str, SystemScores, BenchmarkScores]]) -> tuple[int, tuple[Mean, ...]]:
    found = [next((one for one in scores.tiers if one.tier == tier), None) for _, _, scores in asked]
    count = max(len(one.languages) for one in found if one)
    means = tuple(
        Mean(style, system.title, one.accuracy if one else None) for (style, system, _), one in zip(asked, found, strict=True)
    )
    return count, means


def _score(scores: BenchmarkScores, language: str) -> LanguageScore | None:
    return next((score for score in scores.languages if score.language == language), None)
