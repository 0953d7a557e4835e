"""Measure host memory and time to induce a lexicon from two files of 200,000 vectors; the goal is a peak below 4 GiB.

python -m benchmarks lexicon_induction_memory --check

The script makes two text files of 200,000 clustered vectors of 300 dimensions (1.1 GB). The second is the first, rotated, with
noise of 0.1, and each translation stands within 5,000 places of its word. A process of its own runs `lilift lexicon induce` on
them.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.lexicons.lexicon_vectors import clustered_vectors, planted, write_vectors
from benchmarks.shared.result_files import keep, report_goals
from lilift.data.lexicons.lexicon_table import read_lexicon

GOALS = {"peak GiB": ("at most", 4.0), "share of pairs that are right": ("at least", 0.95)}


def write_languages(folder: Path, words: int, dimension: int) -> dict[str, set[str]]:
    """Write ``english.vec`` and ``foreign.vec``; return which words belong together."""
    vectors = clustered_vectors(words, dimension, torch.Generator().manual_seed(0))
    english, foreign, gold = planted(vectors, 0.1, seed=0, neighbourhood=5_000)
    write_vectors(folder / "english.vec", english)
    write_vectors(folder / "foreign.vec", foreign)
    return dict(gold)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure host memory and time to induce a lexicon from 200,000 vectors.")
    parser.add_argument("--words", type=int, default=200_000)
    parser.add_argument("--dimension", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="folder for 1.1 GB of temporary files")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        gold = write_languages(folder, arguments.words, arguments.dimension)
        output = folder / "sw.parquet"
        files = ["--english", folder / "english.vec", "--foreign", folder / "foreign.vec", "--output", output]
        command = [sys.executable, "-m", "lilift", "lexicon", "induce", *map(str, files), "--language", "sw"]
        begun = time.perf_counter()
        subprocess.run(
            [*command, "--start", "similarity"], check=True, env=os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}
        )
        wall = time.perf_counter() - begun
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        entries = read_lexicon(output).entries
    right = sum(found[0].text in gold[word] for word, found in entries.items())
    found = {
        "peak GiB": round(used.ru_maxrss / 2**20, 2),
        "share of pairs that are right": round(right / len(entries), 4),
        "pairs": len(entries),
        "core minutes": round((used.ru_utime + used.ru_stime) / 60, 1),
        "wall minutes": round(wall / 60, 1),
    }
    sizes = {"words": arguments.words, "dimension": arguments.dimension, "threads": arguments.threads}
    keep("lexicon_induction_memory", {"goals": GOALS, **sizes, **found}, arguments.output)
    return 0 if report_goals(found, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
