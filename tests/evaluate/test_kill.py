"""`kill -9` in the middle of an evaluation: no row is lost, none repeated, and the scores are those of a quiet evaluation."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from lilift.evaluate.evaluator import read_scores

EVALUATION = """
import os, sys, time
from decimal import Decimal
from pathlib import Path
from lilift.evaluate.benchmarks.benchmark import Benchmark, Question
from lilift.evaluate.evaluator import evaluate
from lilift.evaluate.response_stream import Response

class Slow:
    def generate(self, questions):
        raise AssertionError
    def stream(self, questions, *, samples):
        for place in reversed(range(len(questions))):
            time.sleep(float(sys.argv[2]))
            yield Response(place, f"It is {questions[place].split()[0]}.", os.getpid(), True)

questions = tuple(Question(str(number), f"{number} apples?", Decimal(number)) for number in range(150))
benchmarks = [Benchmark("mmwp", code, questions, 150) for code in ("en", "sw")]
evaluate(Slow(), benchmarks, Path(sys.argv[1]), questions_at_once=7)
"""


def kept(folder: Path, language: str) -> dict[str, int]:
    """The ids of the whole lines that are on the disk, and the process that answered each."""
    path = folder / f"lifted/mmwp/{language}.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    found = [json.loads(line) for line in lines]
    assert len({line["id"] for line in found}) == len(found)
    return {line["id"]: line["tokens"] for line in found}


def test_a_killed_evaluation_goes_on_where_it_was(tmp_path: Path) -> None:
    def start(seconds: float) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", EVALUATION, str(tmp_path), str(seconds)])

    for enough in (("en", 20), ("sw", 30)):
        running = start(0.004)
        until = time.monotonic() + 250
        while len(kept(tmp_path, enough[0])) < enough[1]:
            assert running.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < until
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
        running.wait()
    before = {language: kept(tmp_path, language) for language in ("en", "sw")}
    assert len(before["en"]) == 150
    assert 30 <= len(before["sw"]) < 150
    assert start(0).wait(250) == 0
    for language, answered in before.items():
        after = kept(tmp_path, language)
        assert answered.items() <= after.items(), "what was there is not asked again"
        assert list(after) == [str(number) for number in range(150)], "in the order of the questions"
    (scores,) = read_scores(tmp_path / "scores.json")
    assert scores.benchmarks[0].macro == 1.0
