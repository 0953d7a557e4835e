"""Records what the answers in a folder depend on, and refuses a folder whose answers depend on something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lilift.evaluate.benchmarks.benchmark import LIKELIHOOD_SUFFIX, Benchmark
from lilift.evaluate.benchmarks.custom.custom_benchmark import read_custom
from lilift.recipe.errors import DataError, RunFolderError
from lilift.recipe.schema import BenchmarkSettings
from lilift.recipe.sealed_records import read_record, write_record
from lilift.recipe.storage import read_json, write_json

INPUTS = "inputs.json"
QUESTIONS = "questions.json"
"""In the folder of a custom benchmark: the digest of its questions by language."""
_IN_WORDS = {"template": "prompt template", "max_new_tokens": "longest response", "samples": "samples"}
"""Names for the inputs whose values a user has chosen; the other inputs are fingerprints."""


def claim_answers(path: Path, inputs: Mapping[str, Any]) -> None:
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


def claim_questions(folder: Path, benchmark: Benchmark) -> None:
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
