"""Measure the accuracy and the time of inducing a lexicon without a dictionary, from synthetic and from real word vectors.

python -m benchmarks lexicon_induction --check
LILIFT_SHARED_DATA=FOLDER python -m benchmarks lexicon_induction --real

Synthetic: 20,000 clustered vectors of 300 dimensions with the decaying spectrum that word vectors have; the other language is
the same vectors rotated, in another random order, with Gaussian noise whose length is 0 to 0.3 of a vector's. No word is
spelled alike in both. 6,000 words of each language align the spaces, and 30% of them have their partner among the other 6,000.
Precision is over all 20,000. Real: fastText-style vectors that lilift trains on GSM8K's questions and FLORES in English, and on
MMWP and FLORES in the other language, measured against MUSE's or Wiktionary's dictionary.

Time is in core-minutes (CPU time of all threads), so that other work on the machine does not count. Wall time stands beside it.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.lexicons.lexicon_vectors import Gold, clustered_vectors, planted
from benchmarks.shared.result_files import keep, report_goals
from lilift.data.induction.vector_alignment import InductionSettings, align, precision
from lilift.data.induction.vector_training import train_embeddings
from lilift.data.induction.word_vectors import Embeddings
from lilift.data.languages import language
from lilift.data.lexicons.lexicon_folder import load_lexicon

GOALS = {"P@1 at noise 0.1": ("at least", 0.95), "core-minutes at noise 0.1": ("at most", 20.0)}
GOLD = {"de": "lexicon_muse/en-de.txt.gz", "sw": "lexicon_wechsel_wiktionary/swahili.txt.gz"}


def measured(english: Embeddings, foreign: Embeddings, gold: Gold, settings: InductionSettings) -> dict[str, Any]:
    cpu, wall = time.process_time(), time.perf_counter()
    alignment = align(english, foreign, settings)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    words, shares = precision(alignment, english, foreign, gold)
    return {
        "words asked": words,
        "P@1": round(shares[1], 4),
        "P@5": round(shares[5], 4),
        "criterion": round(alignment.attempts[0].criterion, 4),
        "attempts": [vars(attempt) for attempt in alignment.attempts],
        "core minutes": round(cpu / 60, 2),
        "wall minutes": round(wall / 60, 2),
    }


def english_texts(data: Path) -> Iterator[str]:
    with gzip.open(data / "gsm8k" / "train.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)["question"]
    yield from flores(data, "en")


def flores(data: Path, code: str) -> Iterator[str]:
    with gzip.open(data / "sib200_flores_parallel" / f"{code}.tsv.gz", "rt", encoding="utf-8") as lines:
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield row["text"]


def word_problems(data: Path, code: str) -> Iterator[str]:
    for path in sorted(data.glob(f"mmwp/test_{code}.json.gz")):
        yield from (row["question"] for row in json.loads(gzip.decompress(path.read_bytes())))


def trained(lines: Iterable[str], path: Path, code: str) -> Embeddings:
    path.write_text("\n".join(" ".join(line.split()) for line in lines), encoding="utf-8")
    return train_embeddings(path, language(code), dimension=100, epochs=5, least_count=3)


def real(code: str, english: Embeddings, data: Path, scratch: Path) -> dict[str, Any]:
    path = scratch / f"{code}.txt"
    foreign = trained([*flores(data, code), *word_problems(data, code)], path, code)
    gold = {word: {item.text for item in found} for word, found in load_lexicon(str(data / GOLD[code]), code).entries.items()}
    sizes = {"foreign bytes": path.stat().st_size, "english words": len(english.words), "foreign words": len(foreign.words)}
    return {**sizes, **measured(english, foreign, gold, InductionSettings())}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the accuracy of inducing a lexicon without a dictionary.")
    parser.add_argument("--words", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=300)
    parser.add_argument("--frequent", type=int, default=6_000, help="words that align the spaces; precision is over all words")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.1, 0.3, 0.2, 0.0])
    parser.add_argument("--starts", nargs="+", default=["similarity"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--real", action="store_true", help="train vectors on the real text of LILIFT_SHARED_DATA instead")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    return run_real(arguments.output) if arguments.real else run_synthetic(arguments)


def run_synthetic(arguments: argparse.Namespace) -> int:
    found: dict[str, Any] = {"words": arguments.words, "dimension": arguments.dimension, "threads": arguments.threads}
    found |= {"frequent": arguments.frequent, "goals": GOALS, "noise": {}}
    settings = InductionSettings(tuple(arguments.starts), arguments.frequent)
    for noise in arguments.noise:
        vectors = clustered_vectors(arguments.words, arguments.dimension, torch.Generator().manual_seed(0))
        english, foreign, gold = planted(vectors, noise, seed=0, neighbourhood=arguments.words)
        row = measured(english, foreign, gold, settings)
        found["noise"][str(noise)] = row
        print(f"noise {noise}: {row}", flush=True)
        keep("lexicon_induction", found, arguments.output)
    goal = found["noise"]["0.1"]
    summary = {"P@1 at noise 0.1": goal["P@1"], "core-minutes at noise 0.1": goal["core minutes"]}
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


def run_real(output: Path | None) -> int:
    data = Path(os.environ["LILIFT_SHARED_DATA"])
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        english = trained(english_texts(data), Path(scratch) / "en.txt", "en")
        for code in GOLD:
            found[code] = real(code, english, data, Path(scratch))
            print(code, found[code], flush=True)
    keep("lexicon_induction_real", {"languages": found}, output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
