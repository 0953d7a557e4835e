"""The alignment methods that lilift's is compared with: each takes two vocabularies and returns both in one space.

MUSE and VecMap run as their authors published them, each in a process of its own, from a folder that holds its repository.
MUSE is from 2019. The process first restores what newer versions of Python and torch have removed.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.lexicons.lexicon_vectors import write_vectors
from lilift.data.induction.refinement import procrustes
from lilift.data.induction.vector_alignment import Alignment, InductionSettings, Start, align
from lilift.data.induction.word_vectors import Embeddings, read_embeddings

TRANSPORTED = 1_000
"""Words that optimal transport looks at; its cost grows with their third power."""
_OLD_NAMES = (
    "import inspect, runpy, sys; inspect.getargspec = inspect.getfullargspec; "
    "sys.path.insert(0, sys.argv[1]); sys.argv = sys.argv[2:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


@dataclass(frozen=True)
class Aligned:
    """Two vocabularies in one space, and the time that this took.

    Attributes:
        english: [N, D].
        foreign: [M, D].
        core_minutes: of all threads and processes.
        wall_minutes: from start to end.
        details: what else the tool says of itself.
    """

    english: Tensor
    foreign: Tensor
    core_minutes: float
    wall_minutes: float
    details: dict[str, Any]


Tool = Callable[[Embeddings, Embeddings, Path], tuple[Tensor, Tensor, dict[str, Any]]]


def timed(tool: Tool, english: Embeddings, foreign: Embeddings, scratch: Path) -> Aligned:
    """Run a tool, which writes its files into `scratch`."""
    cpu, wall = _cpu_seconds(), time.perf_counter()
    first, second, details = tool(english, foreign, scratch)
    cpu, wall = _cpu_seconds() - cpu, time.perf_counter() - wall
    return Aligned(F.normalize(first, dim=1), F.normalize(second, dim=1), cpu / 60, wall / 60, details)


def lilift(starts: Sequence[Start], seeds: int, frequent: int) -> Tool:
    def run(english: Embeddings, foreign: Embeddings, _: Path) -> tuple[Tensor, Tensor, dict[str, Any]]:
        found: Alignment = align(english, foreign, InductionSettings(tuple(starts), seeds, frequent))
        return found.english, found.foreign, {"attempts": [vars(attempt) for attempt in found.attempts]}

    return run


def muse(folder: Path, hidden: int, words_seen: int, epochs: int) -> Tool:
    def run(english: Embeddings, foreign: Embeddings, scratch: Path) -> tuple[Tensor, Tensor, dict[str, Any]]:
        write_vectors(scratch / "en.vec", english)
        write_vectors(scratch / "xx.vec", foreign)
        # MUSE needs a dictionary to report precision. One word is enough, because its choices do not use it.
        (scratch / "any.txt").write_text(f"{english.words[0]} {foreign.words[0]}\n", encoding="utf-8")
        most = min(len(english.words), len(foreign.words))
        options = {"src_lang": "en", "tgt_lang": "xx", "src_emb": scratch / "en.vec", "tgt_emb": scratch / "xx.vec"}
        options |= {"emb_dim": english.dimension, "dis_most_frequent": min(75_000, most), "dis_hid_dim": hidden}
        options |= {"epoch_size": words_seen, "n_epochs": epochs, "dico_eval": scratch / "any.txt", "cuda": False, "seed": 0}
        options |= {"exp_path": scratch, "exp_name": "muse", "exp_id": "run", "verbose": 1}
        command = [sys.executable, "-W", "ignore", "-c", _OLD_NAMES, str(folder), str(folder / "unsupervised.py")]
        command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
        # MUSE reads back the mapping that it has just written, which is a pickle.
        _run(command, {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}, scratch / "muse.log")
        given = {"hidden units": hidden, "words an epoch": words_seen, "epochs": epochs}
        return *_read_back(scratch / "muse" / "run", "vectors-en.txt", "vectors-xx.txt", english, foreign), given

    return run


def vecmap(folder: Path, cutoff: int) -> Tool:
    def run(english: Embeddings, foreign: Embeddings, scratch: Path) -> tuple[Tensor, Tensor, dict[str, Any]]:
        names = ["en.vec", "xx.vec", "en.mapped", "xx.mapped"]
        write_vectors(scratch / names[0], english)
        write_vectors(scratch / names[1], foreign)
        command = [sys.executable, str(folder / "map_embeddings.py"), "--unsupervised", "--vocabulary_cutoff", str(cutoff)]
        _run([*command, *(str(scratch / name) for name in names)], {}, scratch / "vecmap.log")
        return *_read_back(scratch, names[2], names[3], english, foreign), {"words aligned by": cutoff}

    return run


def optimal_transport(rounds: int = 200) -> Tool:
    """Gromov-Wasserstein distance (Alvarez-Melis and Jaakkola, 2018) by POT, then Procrustes on the pairs that it finds."""

    def run(english: Embeddings, foreign: Embeddings, _: Path) -> tuple[Tensor, Tensor, dict[str, Any]]:
        import ot

        first, second = (F.normalize(found.vectors - found.vectors.mean(dim=0), dim=1) for found in (english, foreign))
        distances = [(1 - part @ part.T).double().numpy() for part in (first[:TRANSPORTED], second[:TRANSPORTED])]
        weights = [np.full(len(part), 1 / len(part)) for part in distances]
        plan = ot.gromov.entropic_gromov_wasserstein(
            *distances, *weights, "square_loss", epsilon=5e-4, max_iter=rounds, solver="PPA"
        )
        partner = torch.from_numpy(np.asarray(plan)).argmax(dim=1)
        mapping = procrustes(first[: len(partner)], second[partner])
        return first @ mapping, second, {"words transported": len(partner)}

    return run


def _run(command: Sequence[str], environment: dict[str, str], log: Path) -> None:
    with log.open("w") as file:
        done = subprocess.run(command, env=os.environ | environment, stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise SystemExit(f"{command[:2]} failed:\n{log.read_text()[-2000:]}")


def _read_back(folder: Path, first: str, second: str, english: Embeddings, foreign: Embeddings) -> tuple[Tensor, Tensor]:
    """Vectors that a tool wrote, in the order of our words: the tool may change it."""
    return _in_order(folder / first, english), _in_order(folder / second, foreign)


def _in_order(path: Path, wanted: Embeddings) -> Tensor:
    found = read_embeddings(path, len(wanted.words))
    position = {word: index for index, word in enumerate(found.words)}
    missing = [word for word in wanted.words if word not in position]
    if missing:
        raise SystemExit(f"{path.name} lacks {len(missing)} words, such as {missing[0]!r}")
    return found.vectors[[position[word] for word in wanted.words]]


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)
