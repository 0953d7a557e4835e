"""Measure the speed and memory of code-switching GSM8K, and check that 1 and 8 processes write the same bytes.

LILIFT_SHARED_DATA=FOLDER python -m benchmarks code_switching --check

FOLDER holds gsm8k/train.jsonl.gz and lexicon_wechsel_wiktionary: GSM8K's training questions as published, and the
dictionaries of WECHSEL (github.com/CPJKU/wechsel) for MMWP's 21 low-resource languages. A source token is the text between two
spaces. Speed is in tokens per second of processor time of one process, the best of several passes, so that other work on the
machine does not count. The seconds on the clock stand beside it.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks.shared.result_files import data_parser, keep, parse_with_data, report_goals
from lilift.data.align_tasks import AlignTasks
from lilift.data.languages import languages
from lilift.data.lexicons.english_forms import dictionary_forms, find_names
from lilift.data.lexicons.lexicon_folder import load_lexicons
from lilift.data.switching.code_switching import CodeSwitcher
from lilift.data.switching.switched_file import write_switched
from lilift.data.texts.examples import Example
from lilift.data.texts.instructions import load_instructions
from lilift.recipe.schema import CodeSwitchingSettings, InstructionSettings

SETTINGS = {
    "tokens per second": CodeSwitchingSettings(),
    "tokens per second, words moved about": CodeSwitchingSettings(shuffle=1.0),
    "tokens per second, languages mixed": CodeSwitchingSettings(mixed=1.0),
}
GOALS = {
    **{f"{name}{cold}": ("at least", 200_000.0) for name in SETTINGS for cold in ("", " (first pass)")},
    "files that differ with 8 processes": ("at most", 0.0),
}


def rss() -> float:
    """Memory of this process, MiB."""
    return float(psutil.Process().memory_info().rss / 2**20)


def one_pass(switcher: CodeSwitcher, texts: Sequence[str], epoch: int) -> dict[str, float]:
    """Processor and clock seconds of switching every text once."""
    processor, clock = time.process_time(), time.perf_counter()
    for index, text in enumerate(texts):
        switcher.switch(text, epoch=epoch, index=index)
    return {"processor": time.process_time() - processor, "clock": time.perf_counter() - clock}


def passes(make: Callable[[], CodeSwitcher], texts: Sequence[str], repeats: int) -> dict[str, list[dict[str, float]]]:
    """First passes of new switchers, which see every word for the first time, and later passes of one of them."""
    first = []
    for _ in range(repeats):
        dictionary_forms.cache_clear()
        switcher = make()
        first.append(one_pass(switcher, texts, 0))
    return {"first": first, "later": [one_pass(switcher, texts, epoch) for epoch in range(1, repeats)]}


def digest_with(workers: int, tasks: AlignTasks, examples: Sequence[Example]) -> tuple[str, float]:
    """SHA-256 of two epochs that this many processes write, and the seconds that they take."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "switched.jsonl"
        started = time.perf_counter()
        write_switched(path, tasks, examples, epochs=2, workers=workers)
        return hashlib.sha256(path.read_bytes()).hexdigest(), time.perf_counter() - started


def main() -> int:
    parser = data_parser("Speed and memory of code-switching.")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parse_with_data(parser)

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
        make = partial(CodeSwitcher, lexicons, settings, seed=0, names=names)
        taken = passes(make, texts, arguments.repeats)
        summary[name] = tokens / min(one["processor"] for one in taken["later"])
        summary[f"{name} (first pass)"] = tokens / min(one["processor"] for one in taken["first"])
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
