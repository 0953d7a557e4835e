"""The results section of the report: averages, one row for each language, tiers and sample questions of a benchmark."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lilift.evaluate.benchmarks.benchmark import BARE_SUFFIX, LIKELIHOOD_SUFFIX, SAMPLE_SUFFIX, published_name
from lilift.evaluate.benchmarks.custom.custom_benchmark import is_custom, title_of_custom
from lilift.evaluate.scores.response_analysis import Profiles, ResponseProfile
from lilift.evaluate.scores.scores import TIERS_EXPLAINED, BenchmarkScores, LanguageScore, SystemScores
from lilift.phases.report.sample_questions import Sample, samples_of
from lilift.recipe.schema import WITH_LABELS

_BENCHMARKS = {
    "world": (
        "World",
        "Generated word problems. Their sentence patterns and numbers do not occur in training. The questions use real words "
        "of real languages, in roughly their word order, without inflection. They demonstrate the method, and do not measure "
        "how well the model knows these languages.",
    ),
    "mmwp": ("MMWP", "Math word problems that the benchmark's authors translated by machine."),
    "afrimgsm": ("AfriMGSM", "MGSM's grade-school math problems in African languages, translated by people."),
    "mgsm": ("MGSM", "Grade-school math problems that people translated."),
    "belebele": ("Belebele", "Questions on a short passage, with four choices, translated by people. Chance is 25%."),
    "sib200": ("SIB-200", "Which of seven topics does a sentence have? People translated the sentences. Chance is 14%."),
    "global-mmlu-lite": (
        "Global-MMLU-Lite",
        "Questions on many subjects, with four choices, translated by people or corrected by them. Chance is 25%.",
    ),
    **{
        f"polymath-{level}": (
            f"PolyMath, {level} level",
            "Math problems that a machine translated and language experts corrected; those whose answer is a number.",
        )
        for level in ("low", "medium", "high", "top")
    },
    "msvamp": ("MSVAMP", "SVAMP's math word problems in ten languages, translated by a machine."),
    "xnli": ("XNLI", "Does a premise entail a hypothesis, contradict it, or neither? Chance is 33%."),
    "xcsqa": ("X-CSQA", "Common-sense questions with five choices that the authors translated by machine. Chance is 20%."),
}
_SAMPLE = "These are only a few rows of lilift's own. They test that everything works, and do not measure the model."
_BARE = "The question does not list the possible answers."
_LIKELIHOOD = "The model writes no response: the answer is the label with the highest likelihood after the question."
_STYLES = {"untrained": "a", "control": "b", "lifted": "c"}


@dataclass(frozen=True)
class Result:
    """One system in one language; `score` is None if the system has no answers in it."""

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
    """A system's macro average over some languages. `tiers` has the average of each tier, if there are several."""

    style: str
    title: str
    accuracy: float | None
    tiers: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class BenchmarkSection:
    """The part of the report about one benchmark.

    Attributes:
        name: name in files and anchors.
        title, description: texts for the reader.
        answer: kind of its answers: a number or a label.
        headline: every system's average.
        averaged: number of languages in the average.
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
        """Number of questions of each language, if it is the same for all."""
        counts = {row.questions for row in self.rows}
        return counts.pop() if len(counts) == 1 else None

    @property
    def tiers_explained(self) -> str:
        """What the tiers of the languages mean."""
        return TIERS_EXPLAINED

    @property
    def sampled(self) -> frozenset[str]:
        """Codes of the languages that have sample questions."""
        return frozenset(code for code, _, _ in self.samples)

    @property
    def profiled(self) -> bool:
        """Whether there are written responses with a profile."""
        written = not self.name.endswith(LIKELIHOOD_SUFFIX)
        return written and any(result.profile for row in self.rows for result in row.results)

    @property
    def drawn(self) -> bool:
        """Whether the model drew several responses to a question."""
        return any(result.profile and result.profile.samples > 1 for row in self.rows for result in row.results)

    @property
    def cut(self) -> bool:
        """Whether any question was too long for the encoder."""
        return any(result.score and result.score.cut for row in self.rows for result in row.results)


def style_of(system: str, place: int) -> str:
    """The mark and colour of a system: its own, or that of its place in the table."""
    return _STYLES.get(system, "acbdefgh"[place % 8])


LinesOf = Callable[[str, str, str], Sequence[Mapping[str, Any]]]
"""The kept responses of a system, benchmark and language."""
_TIER_ORDER = {"": 0, "high": 1, "medium": 2, "low": 3}


def benchmark_sections(
    systems: Sequence[SystemScores], lines_of: LinesOf, profiles: Profiles | None = None
) -> list[BenchmarkSection]:
    """A section for each benchmark, its languages ordered by tier: English first, then from high to low.

    Args:
        systems: scores of the systems, in the order of the table.
        lines_of: returns the kept responses.
        profiles: length, language and agreement of the responses, where lilift has measured them.
    """
    names = dict.fromkeys(scores.benchmark for system in systems for scores in system.benchmarks)
    return [_section(name, systems, lines_of, profiles or {}) for name in names]


def _section(name: str, systems: Sequence[SystemScores], lines_of: LinesOf, profiles: Profiles) -> BenchmarkSection:
    asked = [
        (style_of(system.system, place), system, scores)
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
    title, description = _title_and_description(name)
    return BenchmarkSection(
        name,
        title,
        description,
        _kind_of_answer(name, asked, lines_of),
        tuple(Mean(style, system.title, scores.macro, _by_tier(scores)) for style, system, scores in asked),
        sum(code != "en" for code in languages),
        rows,
        tuple((tier, *_tier(tier, asked)) for tier in tiers),
        samples,
    )


def _kind_of_answer(name: str, asked: Sequence[tuple[str, SystemScores, BenchmarkScores]], lines_of: LinesOf) -> str:
    """Number or label; for questions of one's own, the stored right answers tell it."""
    if not is_custom(name):
        return "label" if published_name(name) in WITH_LABELS else "number"
    lines = (
        line for _, system, scores in asked for one in scores.languages for line in lines_of(system.system, name, one.language)
    )
    gold = next((str(line["gold"]) for line in lines), "")
    return "number" if re.fullmatch(r"-?\d+(\.\d+)?", gold) else "label"


def _title_and_description(name: str) -> tuple[str, str]:
    """A benchmark's title and description for the reader."""
    own = is_custom(name)
    if own:
        title, description = title_of_custom(name.removesuffix(LIKELIHOOD_SUFFIX)), "Questions of your own."
    else:
        title, description = _BENCHMARKS.get(published_name(name), (name, ""))
    if BARE_SUFFIX in name and not own:
        title, description = f"{title}, bare", f"{description} {_BARE}"
    if name.endswith(LIKELIHOOD_SUFFIX):
        title, description = f"{title}, likeliest label", f"{description} {_LIKELIHOOD}"
    if SAMPLE_SUFFIX in name and not own:
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
