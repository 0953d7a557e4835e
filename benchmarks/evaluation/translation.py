"""Measure the guard for numbers on translations by people, and how fast the cache of translations is read.

LILIFT_SHARED_DATA=FOLDER python -m benchmarks translation --check

FOLDER holds the folder mgsm as its authors made it. People translated MGSM, so most rows that the guard flags are false alarms:
translators write some numbers as words. For the share of faults that the guard finds, one number of each question is raised by
1. No translator runs here. The cache holds generated texts of about 200 characters. Seconds are processor time of one thread,
the best of five readings.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.shared.result_files import data_parser, keep, parse_with_data, report_goals
from lilift.data.languages import languages
from lilift.evaluate.benchmarks.benchmark import load_benchmark
from lilift.recipe.errors import DataError
from lilift.recipe.schema import BenchmarkSettings
from lilift.translation.number_guard import lost_numbers
from lilift.translation.translation_cache import Translation, TranslationCache

GOALS = {
    "share of people's translations into English that the guard flags": ("at most", 0.05),
    "share of people's translations from English that the guard flags": ("at most", 0.05),
    "share of changed numbers that the guard finds": ("at least", 0.99),
    "rows a second from the cache": ("at least", 50_000.0),
}
ROWS = 200_000
_NUMBER = re.compile(r"(?<![\d.,])\d+(?![\d.,]*\d)")


def questions(data: Path, code: str) -> dict[str, str]:
    found = load_benchmark(BenchmarkSettings(name="mgsm", path=str(data / "mgsm")), code, seed=0)
    return {question.id: question.text for question in found.questions}


def guard_of(data: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """What the guard says about every row of MGSM, by language, and the shares of all."""
    english = questions(data, "en")
    counts: Counter[str] = Counter()
    by_language = {}
    for code in languages():
        if code == "en":
            continue
        try:
            foreign = questions(data, code)
        except DataError:  # not one of its languages
            continue
        flagged: dict[str, list[str]] = {"into English": [], "from English": []}
        for id, text in foreign.items():
            if lost_numbers(text, code, english[id], "en"):
                flagged["into English"].append(id)
            if lost_numbers(english[id], "en", text, code):
                flagged["from English"].append(id)
            changed = _NUMBER.sub(lambda match: str(int(match.group()) + 1), english[id], count=1)
            # A repeated number may still be there once, and a number that the foreign text lacks proves nothing.
            if id not in flagged["from English"] and changed != english[id]:
                counts["changed"] += 1
                counts["found"] += bool(lost_numbers(changed, "en", text, code))
        counts["rows"] += len(foreign)
        for direction, ids in flagged.items():
            counts[direction] += len(ids)
        by_language[code] = {"rows": len(foreign)} | {direction: len(ids) for direction, ids in flagged.items()}
        print(f"{code}: {by_language[code]}")
    return by_language, {
        "share of people's translations into English that the guard flags": counts["into English"] / counts["rows"],
        "share of people's translations from English that the guard flags": counts["from English"] / counts["rows"],
        "share of changed numbers that the guard finds": counts["found"] / counts["changed"],
    }


def cache_speed() -> dict[str, float]:
    """Rows a second of a cache on the disk: written in groups of 500, and read by text."""
    texts = [f"{number} " + "a text of some length, as a question has it. " * 4 for number in range(ROWS)]
    with tempfile.TemporaryDirectory() as folder:
        cache = TranslationCache(Path(folder) / "sw-en.sqlite")
        start = time.process_time()
        for first in range(0, ROWS, 500):
            cache.add({text: Translation(text.upper()) for text in texts[first : first + 500]})
        written = ROWS / (time.process_time() - start)
        read = 0.0
        for _ in range(5):
            start = time.process_time()
            assert len(cache.get(texts)) == ROWS
            read = max(read, ROWS / (time.process_time() - start))
    return {"rows a second from the cache": read, "rows a second into the cache": written}


def main() -> int:
    arguments = parse_with_data(data_parser("The guard for numbers, and the cache of translations."))
    by_language, summary = guard_of(arguments.data)
    summary |= cache_speed()
    print(summary)
    keep("translation", {"goals": GOALS, "summary": summary, "mgsm": by_language})
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
