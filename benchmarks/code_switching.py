"""Code-switching of GSM8K with 21 low-resource languages: speed, memory, and the same bytes with 1 and with 8 processes.

python benchmarks/code_switching.py --data PATH --check

PATH holds gsm8k/train.jsonl.gz and lexicon_wechsel_wiktionary/LANGUAGE.txt.gz: GSM8K's training questions as published, and the
dictionaries of WECHSEL (github.com/CPJKU/wechsel) for MMWP's 21 low-resource languages. A source token is what stands between
spaces. Speed is counted per second of processor time of one process, the best of several passes, so that a busy machine is told
apart from a slow program; the seconds on the clock stand beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from results import keep, report_goals

from lilift.data.align_tasks import AlignTasks
from lilift.data.code_switching import CodeSwitcher
from lilift.data.english import find_names
from lilift.data.examples import Example
from lilift.data.instructions import load_instructions
from lilift.data.languages import languages
from lilift.data.lexicon_folder import load_lexicons
from lilift.data.switched_file import write_switched
from lilift.recipe.schema import CodeSwitchingSettings, InstructionSettings

GOALS = {
    "tokens per second": ("at least", 200_000.0),
    "tokens per second, words moved about": ("at least", 200_000.0),
    "tokens per second, languages mixed": ("at least", 200_000.0),
    "files that differ with 8 processes": ("at most", 0.0),
}
SETTINGS = {
    "tokens per second": CodeSwitchingSettings(),
    "tokens per second, words moved about": CodeSwitchingSettings(shuffle=1.0),
    "tokens per second, languages mixed": CodeSwitchingSettings(mixed=1.0),
}


def rss() -> float:
    """Memory of this process, MiB."""
    return float(psutil.Process().memory_info().rss / 2**20)


def passes(switcher: CodeSwitcher, texts: Sequence[str], repeats: int) -> list[dict[str, float]]:
    """Processor and clock seconds of each pass; the first meets every word for the first time."""
    found = []
    for epoch in range(repeats):
        processor, clock = time.process_time(), time.perf_counter()
        for index, text in enumerate(texts):
            switcher.switch(text, epoch=epoch, index=index)
        found.append({"processor": time.process_time() - processor, "clock": time.perf_counter() - clock})
    return found


def digest_with(workers: int, tasks: AlignTasks, examples: Sequence[Example]) -> tuple[str, float]:
    """SHA-256 of two epochs written by so many processes, and the seconds it took."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "switched.jsonl"
        started = time.perf_counter()
        write_switched(path, tasks, examples, epochs=2, workers=workers)
        return hashlib.sha256(path.read_bytes()).hexdigest(), time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description="Speed and memory of code-switching.")
    parser.add_argument("--data", type=Path, required=True, help="folder with the data files")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--check", action="store_true", help="exit 1 where a goal is not met")
    arguments = parser.parse_args()

    codes = sorted(code for code, known in languages().items() if known.tier == "low")
    folder = arguments.data / "lexicon_wechsel_wiktionary"
    source = str(arguments.data / "gsm8k" / "train.jsonl.gz")
    examples, _ = load_instructions(InstructionSettings(source=source), seed=0)
    texts = [example.question for example in examples]
    names = find_names(texts)
    tokens = sum(len(text.split()) for text in texts)
    before = rss()
    lexicons = load_lexicons({code: str(folder / f"{languages()[code].name.lower()}.txt.gz") for code in codes})
    with_lexicons = rss()

    summary: dict[str, float] = {}
    runs: dict[str, Any] = {}
    for name, settings in SETTINGS.items():
        taken = passes(CodeSwitcher(lexicons, settings, seed=0, names=names), texts, arguments.repeats)
        summary[name] = tokens / min(one["processor"] for one in taken)
        summary[f"{name} (first pass)"] = tokens / taken[0]["processor"]
        runs[name] = taken
    summary["MiB of the lexicons"] = with_lexicons - before
    summary["MiB beyond that after all passes"] = rss() - with_lexicons

    tasks = AlignTasks(
        CodeSwitcher(lexicons, CodeSwitchingSettings(shuffle=0.5, mixed=0.2), seed=0, names=names), {"reconstruct": 1.0}, 0
    )
    alone, together = digest_with(1, tasks, examples), digest_with(8, tasks, examples)
    summary["files that differ with 8 processes"] = float(alone[0] != together[0])
    sizes = {
        "questions": len(texts),
        "tokens": tokens,
        "languages": codes,
        "pairs": sum(one.pairs for one in lexicons.values()),
    }
    files = {"sha256 with 1 process": alone[0], "with 8": together[0], "seconds": [alone[1], together[1]]}
    for name, value in summary.items():
        print(f"{name}: {value:,.0f}")
    keep("code_switching", {"goals": GOALS, "data": sizes, "summary": summary, "passes": runs, "files": files})
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
