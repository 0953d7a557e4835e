"""Compares two systems on the same questions: which one is better, by how much, and how sure that is.

For each language: McNemar's exact test on the questions that only one of the two systems answered right (McNemar 1947), with
Holm's correction over the languages (Holm 1979). For averages over languages: a bootstrap over questions. A question is drawn
together with its translations, because they are one problem and tend to succeed or fail together. Independent draws would make
every difference look more certain than it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lilift.data.languages import language as known_language
from lilift.evaluate.scores.scores import TIERS, SystemScores
from lilift.recipe.errors import DataError, RunFolderError
from lilift.recipe.storage import JsonLines

DRAWS = 10_000
_DRAWS_AT_ONCE = 1000
Verdicts = dict[str, dict[str, bool]]
"""By language and question: whether the answer is right."""


@dataclass(frozen=True)
class LanguageComparison:
    """Two systems in one language.

    Attributes:
        language, name, tier: the language.
        questions: questions that both systems answered.
        first, second: share of right answers of each system.
        only_first, only_second: questions that only this system answered right.
        p: McNemar's exact test, two-sided.
        p_holm: the same, corrected for the number of languages.
    """

    language: str
    name: str
    tier: str
    questions: int
    first: float
    second: float
    only_first: int
    only_second: int
    p: float
    p_holm: float

    @property
    def difference(self) -> float:
        """How much better the second system is."""
        return self.second - self.first


@dataclass(frozen=True)
class MeanComparison:
    """Two systems on average over some languages.

    Attributes:
        title: which languages these are, in words.
        languages: how many they are.
        first, second: mean share of right answers of each system.
        difference: how much better the second system is.
        low, high: 95% interval of the difference.
        p: two-sided; from the share of bootstrap draws on the other side of 0.
    """

    title: str
    languages: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Comparison:
    """Two systems on one benchmark.

    Attributes:
        benchmark: its name.
        titles: of the first and the second system.
        languages: each language, in the order of the first system.
        means: the average of all languages except English, then of each tier.
        unpaired: questions that only one of the two answered; they are left out.
    """

    benchmark: str
    titles: tuple[str, str]
    languages: tuple[LanguageComparison, ...]
    means: tuple[MeanComparison, ...]
    unpaired: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def mcnemar(only_first: int, only_second: int) -> float:
    """McNemar's exact test: the probability of a split at least as uneven, if chance decides each of these questions."""
    total = only_first + only_second
    tail = sum(math.comb(total, count) for count in range(min(only_first, only_second) + 1))
    return float(min(1.0, 2 * tail / 2**total))


def holm(values: Sequence[float]) -> list[float]:
    """Holm's correction of several tests."""
    order = sorted(range(len(values)), key=lambda place: values[place])
    corrected = [0.0] * len(values)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = highest
    return corrected


def compare(benchmark: str, titles: tuple[str, str], first: Verdicts, second: Verdicts, *, seed: int = 0) -> Comparison:
    """Compare the verdicts on two systems on one benchmark.

    Args:
        benchmark: its name.
        titles: the names of the two systems.
        first, second: whether each answer is right, by language and question.
        seed: seed of the bootstrap.

    Raises:
        DataError: the two have no question in common.
    """
    shared = {code: ids for code in first if code in second and (ids := [one for one in first[code] if one in second[code]])}
    if not shared:
        raise DataError(
            "the two evaluations have no question in common",
            where=benchmark,
            remedy="compare evaluations of the same benchmark and the same languages",
        )
    splits = {
        code: (
            sum(first[code][one] and not second[code][one] for one in ids),
            sum(second[code][one] and not first[code][one] for one in ids),
        )
        for code, ids in shared.items()
    }
    p_values = [mcnemar(*splits[code]) for code in shared]
    languages = tuple(
        LanguageComparison(
            code,
            known_language(code).name,
            "" if code == "en" else known_language(code).tier or "low",
            len(ids),
            sum(first[code][one] for one in ids) / len(ids),
            sum(second[code][one] for one in ids) / len(ids),
            *splits[code],
            p,
            corrected,
        )
        for (code, ids), p, corrected in zip(shared.items(), p_values, holm(p_values), strict=True)
    )
    asked = len({(code, one) for verdicts in (first, second) for code, found in verdicts.items() for one in found})
    unpaired = asked - sum(len(ids) for ids in shared.values())
    return Comparison(benchmark, titles, languages, tuple(_means(languages, shared, first, second, seed)), unpaired)


def _means(
    languages: Sequence[LanguageComparison],
    shared: Mapping[str, Sequence[str]],
    first: Verdicts,
    second: Verdicts,
    seed: int,
) -> list[MeanComparison]:
    counted = [one for one in languages if one.language != "en"]
    groups = [("mean without English", counted)]
    groups += [(f"mean, {tier} tier", [one for one in counted if one.tier == tier]) for tier in TIERS]
    means = []
    for title, members in groups:
        if not members:
            continue
        drawn = bootstrap({one.language: shared[one.language] for one in members}, first, second, seed)
        low, high = np.quantile(drawn, (0.025, 0.975))
        means.append(
            MeanComparison(
                title,
                len(members),
                math.fsum(one.first for one in members) / len(members),
                math.fsum(one.second for one in members) / len(members),
                math.fsum(one.difference for one in members) / len(members),
                float(low),
                float(high),
                # Both counts are one higher, because a finite number of draws cannot show p = 0 (Davison and Hinkley 1997).
                min(1.0, 2 * (1 + min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))) / (1 + len(drawn))),
            )
        )
    return means


def bootstrap(shared: Mapping[str, Sequence[str]], first: Verdicts, second: Verdicts, seed: int) -> npt.NDArray[np.float64]:
    """The mean difference over languages in each of many draws of questions; a question is drawn with its translations.

    Args:
        shared: the questions by language.
        first, second: verdicts on these questions.
        seed: seed of the draws.
    """
    questions = {one: place for place, one in enumerate(dict.fromkeys(one for ids in shared.values() for one in ids))}
    difference = np.zeros((len(questions), len(shared)))  # [Q, L]
    present = np.zeros_like(difference)
    for column, (code, ids) in enumerate(shared.items()):
        rows = [questions[one] for one in ids]
        difference[rows, column] = [int(second[code][one]) - int(first[code][one]) for one in ids]
        present[rows, column] = 1
    draws = np.random.default_rng(seed)
    found = []
    for _ in range(DRAWS // _DRAWS_AT_ONCE):
        times = draws.multinomial(len(questions), np.full(len(questions), 1 / len(questions)), size=_DRAWS_AT_ONCE)
        sums, counts = times @ difference, times @ present  # [draws, L]
        drawn = counts > 0  # a draw may have no question of a language with few questions
        shares = np.divide(sums, counts, out=np.zeros_like(sums), where=drawn)
        found.append(shares.sum(1) / np.maximum(drawn.sum(1), 1))
    return np.concatenate(found)


def read_verdicts(folder: Path, system: SystemScores, benchmark: str) -> tuple[Verdicts, dict[tuple[str, str], str]]:
    """A system's verdicts on one benchmark, and the text of every question by language and id.

    Raises:
        RunFolderError: a file of generations is missing or damaged.
    """
    verdicts: Verdicts = {}
    texts: dict[tuple[str, str], str] = {}
    for scores in system.benchmarks:
        if scores.benchmark != benchmark:
            continue
        for score in scores.languages:
            path = folder / system.system / benchmark / f"{score.language}.jsonl"
            if not path.exists():
                raise RunFolderError("the answers that belong to the scores are missing", where=path, remedy="evaluate again")
            for line in JsonLines(path).read():
                verdicts.setdefault(score.language, {})[str(line["id"])] = bool(line["correct"])
                texts[score.language, str(line["id"])] = str(line["question"])
    return verdicts, texts


def check_same_questions(first: Mapping[tuple[str, str], str], second: Mapping[tuple[str, str], str], benchmark: str) -> None:
    """Check that the same id is the same question in both evaluations.

    Raises:
        DataError: it is not.
    """
    for place, text in first.items():
        if place in second and second[place] != text:
            raise DataError(
                f"question {place[1]!r} in {place[0]!r} is not the same in the two evaluations",
                where=benchmark,
                remedy="evaluate both systems on the same benchmark files",
            )


def p_value(value: float) -> str:
    """A p value as text."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
