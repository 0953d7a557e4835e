"""Analyses the responses of an evaluation: their length, their language, and whether they agree across languages.

The analysis reads the stored generations of an evaluation folder, so it can run again at any time. It writes:

    analysis.json   the analysis by system, benchmark and language
    scores.csv      one line for each system, benchmark and language: its scores and its analysis
    scores.md       the main columns as a table to read, with averages by tier
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from lilift.data.world import test_problems
from lilift.evaluate.scores.response_language import RESPONSE_LANGUAGES, LanguageGuesser
from lilift.evaluate.scores.scores import LanguageScore, SystemScores
from lilift.recipe.errors import RunFolderError
from lilift.recipe.storage import JsonLines, read_json, write_json, write_text

ANALYSIS = "analysis.json"
_ENGLISH_PROBLEMS = 300
Line = Mapping[str, Any]


@dataclass(frozen=True)
class ResponseProfile:
    """The responses of one system in one language.

    Shares are from 0 to 1. None means that a value is not known or that there is nothing to compare with.

    Attributes:
        responses: number of responses.
        tokens: median length in tokens.
        characters: median length in characters.
        unended: share of responses that were cut at the longest response.
        asked, english, other, none: share of responses in the language of the question, in English, in another script, and
            without words.
        agrees_with_english: share of questions with the same answer as in English; both must have an answer.
        first_right: share of all sampled responses that are right (pass@1).
        any_right: share of questions with at least one right answer among the samples (pass@k).
        samples: number of samples for each question; 1 without sampling.
    """

    responses: int
    tokens: float | None
    characters: float
    unended: float | None
    asked: float
    english: float
    other: float
    none: float
    agrees_with_english: float | None
    first_right: float | None
    any_right: float | None
    samples: int


Profiles = dict[str, dict[str, dict[str, ResponseProfile]]]
"""By system, benchmark and language."""


def analyse(folder: Path, systems: Sequence[SystemScores]) -> Profiles:
    """Analyse the stored responses of every system, and write `analysis.json`, `scores.csv` and `scores.md` beside them.

    Args:
        folder: the folder of an evaluation.
        systems: its scores; see `lilift.evaluate.evaluator.read_scores`.

    Raises:
        RunFolderError: a file of generations is damaged.
        StorageError: the folder cannot be written.
    """
    profiles: Profiles = {}
    for system in systems:
        for scores in system.benchmarks:
            lines = {
                score.language: JsonLines(folder / system.system / scores.benchmark / f"{score.language}.jsonl").read()
                for score in scores.languages
            }
            profiles.setdefault(system.system, {})[scores.benchmark] = profile_languages(lines)
    content = {
        system: {name: {code: asdict(one) for code, one in found.items()} for name, found in benchmarks.items()}
        for system, benchmarks in profiles.items()
    }
    write_json(folder / ANALYSIS, {"format": 1, "systems": content})
    write_text(folder / "scores.csv", as_csv(systems, profiles))
    write_text(folder / "scores.md", as_markdown(systems, profiles))
    return profiles


def read_profiles(folder: Path) -> Profiles:
    """Read what `analyse` wrote; empty if there is no `analysis.json`.

    Raises:
        RunFolderError: the file is damaged.
    """
    path = folder / ANALYSIS
    if not path.exists():
        return {}
    try:
        return {
            system: {name: {code: ResponseProfile(**one) for code, one in found.items()} for name, found in benchmarks.items()}
            for system, benchmarks in read_json(path)["systems"].items()
        }
    except (KeyError, TypeError, AttributeError):
        raise RunFolderError(
            "the file is damaged: lilift cannot read an analysis from it",
            where=path,
            remedy="delete the file and evaluate again",
        ) from None


def profile_languages(lines: Mapping[str, Sequence[Line]]) -> dict[str, ResponseProfile]:
    """Profiles of one system's responses to one benchmark, by language."""
    samples = {code: [str(line["question"]) for line in found] for code, found in lines.items()}
    if not samples.get("en"):
        samples["en"] = _some_english()
    guesser = LanguageGuesser(samples)
    english = {line["id"]: line["extracted"] for line in lines.get("en", ())}
    return {code: _profile(found, code, guesser, english) for code, found in lines.items() if found}


@cache
def _some_english() -> list[str]:
    return [problem.question for problem in test_problems("en", _ENGLISH_PROBLEMS, 0)]


def _profile(lines: Sequence[Line], code: str, guesser: LanguageGuesser, english: Mapping[str, str | None]) -> ResponseProfile:
    counts = Counter(guesser.guess(line["response"], code) for line in lines)
    tokens = [line["tokens"] for line in lines if line.get("tokens") is not None]
    ended = [bool(line["ended"]) for line in lines if line.get("ended") is not None]
    shared = [line for line in lines if line["id"] in english] if code != "en" else []
    drawn = [line["passed"] for line in lines if line.get("passed")]
    shares = {name: counts[name] / len(lines) for name in RESPONSE_LANGUAGES}
    return ResponseProfile(
        responses=len(lines),
        tokens=float(median(tokens)) if tokens else None,
        characters=float(median(len(line["response"]) for line in lines)),
        unended=1 - sum(ended) / len(ended) if ended else None,
        agrees_with_english=(
            sum(line["extracted"] is not None and line["extracted"] == english[line["id"]] for line in shared) / len(shared)
            if shared
            else None
        ),
        first_right=sum(map(sum, drawn)) / sum(map(len, drawn)) if drawn else None,
        any_right=sum(map(any, drawn)) / len(drawn) if drawn else None,
        samples=max(map(len, drawn), default=1),
        **shares,
    )


def as_csv(systems: Sequence[SystemScores], profiles: Profiles) -> str:
    """A CSV table with one line for each system, benchmark and language; shares are from 0 to 1, unknown values are empty."""
    scored = [field.name for field in fields(LanguageScore)]
    profiled = [field.name for field in fields(ResponseProfile)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["system", "benchmark", *scored, *profiled])
    for system in systems:
        for scores in system.benchmarks:
            for score in scores.languages:
                profile = profiles.get(system.system, {}).get(scores.benchmark, {}).get(score.language)
                known = [getattr(profile, name) if profile else None for name in profiled]
                cells = [system.system, scores.benchmark, *(getattr(score, name) for name in scored), *known]
                writer.writerow(["" if cell is None else cell for cell in cells])
    return text.getvalue()


def as_markdown(systems: Sequence[SystemScores], profiles: Profiles) -> str:
    """A Markdown table for each system and benchmark, with averages by tier."""
    parts = []
    for system in systems:
        for scores in system.benchmarks:
            found = profiles.get(system.system, {}).get(scores.benchmark, {})
            parts += [f"## {system.title}: {scores.benchmark}", "", *_markdown_table(scores.languages, found)]
            means = [(f"mean, {tier.tier} tier ({len(tier.languages)})", tier.accuracy) for tier in scores.tiers]
            means += [] if scores.macro is None else [("mean without English", scores.macro)]
            parts += [f"| {title} | {_percent(accuracy)} | | | | | | |" for title, accuracy in means]
            parts.append("")
    return "\n".join(parts)


def _markdown_table(languages: Sequence[LanguageScore], found: Mapping[str, ResponseProfile]) -> list[str]:
    columns = [
        "language",
        "right",
        "95% interval",
        "on sound rows",
        "by the authors' scoring",
        "no answer",
        "answers in English",
        "same answer as in English",
    ]
    lines = [f"| {' | '.join(columns)} |", f"|---|{'--:|' * (len(columns) - 1)}"]
    for score in languages:
        profile = found.get(score.language)
        cells = [
            f"{score.name} ({score.language})",
            _percent(score.accuracy),
            f"{_percent(score.low)} to {_percent(score.high)}",
            _percent(score.sound_accuracy),
            _percent(score.published_accuracy),
            _percent(score.missing_rate),
            _percent(profile.english if profile else None),
            _percent(profile.agrees_with_english if profile else None),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}%"
