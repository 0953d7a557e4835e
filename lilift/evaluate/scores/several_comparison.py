"""Compares several systems on the same questions: accuracy with intervals, and paired tests with one correction for all.

Every figure counts only the questions that all systems answered, so that no system has easier questions. McNemar's exact test
compares pairs of systems in each language. Holm's correction covers all these tests together, because several systems give more
chances of a false alarm. Intervals of averages come from a bootstrap over questions, as in `paired_comparison`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from lilift.data.languages import language as known_language
from lilift.evaluate.scores.paired_comparison import Comparison, Verdicts, bootstrap, compare, holm
from lilift.evaluate.scores.scores import TIERS, wilson_interval
from lilift.recipe.errors import DataError

MOST_SYSTEMS = 8
"""More systems than these do not fit into one table."""
MOST_FOR_ALL_PAIRS = 5
"""With more systems, the tests of all pairs are too many: the correction would hide every difference."""


@dataclass(frozen=True)
class Accuracy:
    """Share of right answers with its 95% interval."""

    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class LanguageResults:
    """All systems in one language.

    Attributes:
        language, name, tier: the language; English has no tier.
        questions: questions that all systems answered.
        results: each system's accuracy, with Wilson's interval.
        only: for each system, the questions that it alone answered right.
        missed: for each system, the questions that it alone answered wrong.
        all_right, none_right: questions that all systems, or none of them, answered right.
    """

    language: str
    name: str
    tier: str
    questions: int
    results: tuple[Accuracy, ...]
    only: tuple[int, ...]
    missed: tuple[int, ...]
    all_right: int
    none_right: int


@dataclass(frozen=True)
class MeanResults:
    """All systems on average over some languages; the intervals come from the bootstrap."""

    title: str
    languages: int
    results: tuple[Accuracy, ...]


@dataclass(frozen=True)
class Pair:
    """Two of the systems.

    Attributes:
        first, second: their places among the systems.
        comparison: their comparison. `p_holm` of its languages is corrected over all languages of all pairs.
        means_p_holm: for each average of the comparison, its p value, corrected over all pairs.
    """

    first: int
    second: int
    comparison: Comparison
    means_p_holm: tuple[float, ...] = ()


@dataclass(frozen=True)
class SeveralComparison:
    """Several systems on one benchmark.

    Attributes:
        benchmark: its name.
        titles: names of the systems.
        languages: each language that all systems have, in the order of the first system.
        means: the average of all languages except English, then of each tier.
        pairs: the pairs that were tested.
        unpaired: questions that not all systems answered; they are left out.
        left_out: names of the languages that not all systems have.
    """

    benchmark: str
    titles: tuple[str, ...]
    languages: tuple[LanguageResults, ...]
    means: tuple[MeanResults, ...]
    pairs: tuple[Pair, ...]
    unpaired: int
    left_out: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare_several(
    benchmark: str, titles: Sequence[str], verdicts: Sequence[Verdicts], *, reference: int | None = 0, seed: int = 0
) -> SeveralComparison:
    """Compare several systems on one benchmark.

    Args:
        benchmark: its name.
        titles: names of the systems.
        verdicts: whether each answer of each system is right, by language and question.
        reference: place of the system that all others are tested against; None tests every pair.
        seed: seed of the bootstrap.

    Raises:
        DataError: the systems have no question in common.
    """
    shared = shared_questions(verdicts)
    if not shared:
        raise DataError(
            "the evaluations have no question in common",
            where=benchmark,
            remedy="compare evaluations of the same benchmark and the same languages",
        )
    paired: list[Verdicts] = [
        {code: {one: found[code][one] for one in ids} for code, ids in shared.items()} for found in verdicts
    ]
    languages = tuple(_language(code, ids, paired) for code, ids in shared.items())
    asked = {(code, one) for found in verdicts for code, answers in found.items() for one in answers}
    known = dict.fromkeys(code for found in verdicts for code in found)
    return SeveralComparison(
        benchmark,
        tuple(titles),
        languages,
        tuple(_means(languages, shared, paired, seed)),
        _pairs(benchmark, titles, paired, reference, seed),
        len(asked) - sum(len(ids) for ids in shared.values()),
        tuple(known_language(code).name for code in known if code not in shared),
    )


def shared_questions(verdicts: Sequence[Verdicts]) -> dict[str, list[str]]:
    """The questions that all systems answered by language, in the order of the first system."""
    first, *others = verdicts
    shared = {}
    for code, answers in first.items():
        ids = [one for one in answers if all(one in found.get(code, {}) for found in others)]
        if ids:
            shared[code] = ids
    return shared


def _language(code: str, ids: Sequence[str], verdicts: Sequence[Verdicts]) -> LanguageResults:
    known = known_language(code)
    right = [[found[code][one] for found in verdicts] for one in ids]
    counts = [sum(row) for row in right]
    systems = range(len(verdicts))
    correct = [sum(row[place] for row in right) for place in systems]
    return LanguageResults(
        code,
        known.name,
        "" if code == "en" else known.tier or "low",
        len(ids),
        tuple(Accuracy(one / len(ids), *wilson_interval(one, len(ids))) for one in correct),
        tuple(sum(row[place] and count == 1 for row, count in zip(right, counts, strict=True)) for place in systems),
        tuple(
            sum(not row[place] and count == len(verdicts) - 1 for row, count in zip(right, counts, strict=True))
            for place in systems
        ),
        sum(count == len(verdicts) for count in counts),
        sum(count == 0 for count in counts),
    )


def _means(
    languages: Sequence[LanguageResults], shared: Mapping[str, Sequence[str]], verdicts: Sequence[Verdicts], seed: int
) -> list[MeanResults]:
    counted = [one for one in languages if one.language != "en"]
    groups = [("mean without English", counted)]
    groups += [(f"mean, {tier} tier", [one for one in counted if one.tier == tier]) for tier in TIERS]
    nothing: Verdicts = {code: dict.fromkeys(ids, False) for code, ids in shared.items()}
    means = []
    for title, members in groups:
        if not members:
            continue
        asked = {one.language: shared[one.language] for one in members}
        found = []
        for place, answers in enumerate(verdicts):
            # The difference from a system that answers nothing right is the accuracy itself.
            low, high = np.quantile(bootstrap(asked, nothing, answers, seed), (0.025, 0.975))
            mean = math.fsum(one.results[place].accuracy for one in members) / len(members)
            found.append(Accuracy(mean, float(low), float(high)))
        means.append(MeanResults(title, len(members), tuple(found)))
    return means


def _pairs(
    benchmark: str, titles: Sequence[str], verdicts: Sequence[Verdicts], reference: int | None, seed: int
) -> tuple[Pair, ...]:
    places = range(len(verdicts))
    if reference is None:
        chosen = list(itertools.combinations(places, 2))
    else:
        chosen = [(reference, place) for place in places if place != reference]
    found = [
        Pair(one, other, compare(benchmark, (titles[one], titles[other]), verdicts[one], verdicts[other], seed=seed))
        for one, other in chosen
    ]
    corrected = iter(holm([row.p for pair in found for row in pair.comparison.languages]))
    means = [holm([pair.comparison.means[place].p for pair in found]) for place in range(len(found[0].comparison.means))]
    return tuple(
        replace(
            pair,
            comparison=replace(
                pair.comparison,
                languages=tuple(replace(row, p_holm=next(corrected)) for row in pair.comparison.languages),
            ),
            means_p_holm=tuple(values[number] for values in means),
        )
        for number, pair in enumerate(found)
    )
