"""Measure what the bridge reaches in a language that the encoder has never read, and what `encoder.adapt` adds.

    python -m benchmarks unread_language --seeds 0 --folder runs/unread

The stand-in encoder has read every language of the world. So the unread language is one of them in disguise: in every word
of its dictionary, vowels change places with vowels and consonants with consonants, always in the same way. Its problems, word
order and dictionary stay the same. `tiny-cpu` runs with this language alone, on:

    read      the language without disguise, which the encoder has read (6,000 texts)
    unread    the language in disguise
    adapted   the same, with `encoder.adapt` and lines of the language

A folder keeps what is done.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.shared.result_files import keep
from lilift.data.world import WORLD_LANGUAGES, monolingual_text, world_languages
from lilift.evaluate.scores.paired_comparison import mcnemar
from lilift.phases.run import RunOptions, run_recipe
from lilift.recipe import storage
from lilift.recipe.load import load_recipe
from lilift.recipe.storage import JsonLines
from lilift.train.adaptation.adapt_encoder import ADAPTATION

CASES = ("unread", "adapted", "read")
SETTINGS = ("transfer.control=false", "evaluate.untrained=false", "evaluate.alignment=null", "export.formats=[]")
VOWELS, CONSONANTS = "aeiou", "bcdfghjklmnpqrstvwyz"


def disguised(word: str) -> str:
    """A word with other letters: each vowel and each consonant is the next but one of its kind."""
    moved = {
        letter: letters[(place + 2) % len(letters)] for letters in (VOWELS, CONSONANTS) for place, letter in enumerate(letters)
    }
    return "".join(moved.get(letter, letter) for letter in word.lower())


@contextmanager
def in_disguise(language: str) -> Iterator[None]:
    """The world writes problems and texts of `language` with disguised words."""
    plain = world_languages.translations

    def translations(code: str) -> dict[str, str]:
        table = plain(code)
        return {english: disguised(word) for english, word in table.items()} if code == language else table

    world_languages.translations = translations  # type: ignore[assignment]
    try:
        yield
    finally:
        world_languages.translations = plain


def write_lexicon(language: str, folder: Path) -> Path:
    """The dictionary of the language in disguise."""
    path = folder / f"en-{language}.tsv"
    pairs = world_languages.translations(language).items()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{english}\t{disguised(word)}\n" for english, word in pairs), encoding="utf-8")
    return path


def write_text(language: str, lines: int, folder: Path) -> Path:
    """Lines of text in the language. The world writes it, in disguise where it is in disguise."""
    path = folder / f"{language}.txt"
    path.write_text("".join(f"{line}\n" for line in monolingual_text(language, lines, 0)), encoding="utf-8")
    return path


def accuracies(settings: list[str], folder: Path) -> dict[str, float]:
    """Accuracy of `tiny-cpu` with these settings, by language."""
    run = run_recipe(load_recipe("tiny-cpu", settings), folder, RunOptions(resume=True, quiet=True))
    return {score.language: score.accuracy for score in run.scores[-1].benchmarks[0].languages}


def measure(case: str, seed: int, arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Accuracy of one case with one seed, by language."""
    language = arguments.language
    lexicons = "world" if case == "read" else f"{{{language}: {write_lexicon(language, folder)}}}"
    settings = [f"languages=[{language}]", f"data.lexicons={lexicons}", f"seed={seed}", *SETTINGS, *arguments.overrides]
    where = folder / f"run-{case}-{seed}"
    if case == "read":
        return accuracies(settings, where)
    with in_disguise(language):
        if case == "adapted":
            text = write_text(language, arguments.lines, folder)
            adapt = {"text": {language: str(text)}, "steps": arguments.steps, "learning_rate": arguments.learning_rate}
            settings.append(f"encoder.adapt={json.dumps(adapt)}")
        return accuracies(settings, where)


def adaptation_of(run: Path) -> dict[str, Any]:
    """What the adaptation of a run read and reached, and how long it took."""
    seconds = storage.read_json(run / "measured.json")["adapt"]["seconds"]
    return {**storage.read_json(run / "adapt" / ADAPTATION), "seconds": seconds}


def against_unread(case: str, seed: int, language: str, folder: Path) -> dict[str, float]:
    """Questions in the language that only one of two runs answered right, with McNemar's exact p."""

    def right(name: str) -> dict[str, bool]:
        path = folder / f"run-{name}-{seed}" / "evaluate" / "lifted" / "world" / f"{language}.jsonl"
        return {answer["id"]: answer["correct"] for answer in JsonLines(path).read()}

    one, other = right("unread"), right(case)
    only_unread = sum(one[key] and not other[key] for key in one)
    only_case = sum(other[key] and not one[key] for key in one)
    return {"only unread": only_unread, f"only {case}": only_case, "p": round(mcnemar(only_unread, only_case), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the bridge in a language that the encoder has never read.")
    parser.add_argument("--language", default="fj", choices=list(WORLD_LANGUAGES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--lines", type=int, default=2000, help="lines of the language for the adaptation (default: 2000)")
    parser.add_argument("--steps", type=int, default=300, help="steps of the adaptation (default: 300)")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="of the adaptation (default: 0.002)")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="A.B=C")
    parser.add_argument("--folder", type=Path, help="keep encoders and runs here (default: a temporary folder)")
    parser.add_argument("--output", type=Path, help="write the result here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        for seed in arguments.seeds:
            for case in arguments.cases:
                found = measure(case, seed, arguments, folder)
                run = {"case": case, "seed": seed, "accuracy": found}
                if case == "adapted":
                    run["adaptation"] = adaptation_of(folder / f"run-{case}-{seed}")
                if case != "unread" and "unread" in arguments.cases[: arguments.cases.index(case)]:
                    run["paired"] = against_unread(case, seed, arguments.language, folder)
                runs.append(run)
                shown = "".join(f"{code:>5} {100 * one:3.0f}" for code, one in found.items())
                print(f"seed {seed}  {case:8}{shown}", flush=True)
                result = {
                    "language": arguments.language,
                    "pairs": len(world_languages.translations(arguments.language)),
                    "lines": arguments.lines,
                    "steps": arguments.steps,
                    "learning_rate": arguments.learning_rate,
                    "settings": [*SETTINGS, *arguments.overrides],
                    "runs": runs,
                }
                keep("unread_language", result, arguments.output)


if __name__ == "__main__":
    main()
