"""The cache keeps translations whole, also through a kill, and finds them by text."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lilift.recipe.errors import StorageError
from lilift.translation.translation_cache import Translation, TranslationCache


def test_translations_come_back_with_their_flags(tmp_path: Path) -> None:
    cache = TranslationCache(tmp_path / "a" / "sw-en.sqlite")
    kept = {
        "Ana 3.\nNa 4": Translation("She has 3.\nAnd 4"),
        "moja": Translation("", numbers_kept=False),
        "mbili": Translation("two", complete=False, tried_again=True),
    }
    cache.add(kept)
    again = TranslationCache(tmp_path / "a" / "sw-en.sqlite")
    assert again.get([*kept, "tatu"]) == kept
    again.add({"moja": Translation("one")})
    assert again.get(["moja"]) == {"moja": Translation("one")}
    assert len(again) == 3


def test_more_texts_than_one_query_takes(tmp_path: Path) -> None:
    cache = TranslationCache(tmp_path / "sw-en.sqlite")
    cache.add({f"text {number}": Translation(str(number)) for number in range(1700)})
    assert cache.get([f"text {number}" for number in range(1800)]) == {
        f"text {number}": Translation(str(number)) for number in range(1700)
    }


def test_what_was_added_before_a_kill_is_there(tmp_path: Path) -> None:
    path = tmp_path / "sw-en.sqlite"
    code = (
        "import sys; from pathlib import Path; from lilift.translation.translation_cache import *\n"
        "cache, number = TranslationCache(Path(sys.argv[1])), 0\n"
        "while True:\n"
        "    cache.add({f'{number} {place}': Translation(str(number)) for place in range(50)}); number += 1\n"
        "    print(number, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(5)]
    time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read().split("\n")[:-1]
    process.wait()
    confirmed = int((rest or seen)[-1])
    cache = TranslationCache(path)
    assert len(cache.get([f"{number} {place}" for number in range(confirmed) for place in range(50)])) == 50 * confirmed
    assert len(cache) % 50 == 0  # all of a call or nothing


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "sw-en.sqlite"
    path.write_bytes(b"no database" * 200)
    with pytest.raises(StorageError, match="cannot read or write this cache of translations"):
        TranslationCache(path)
