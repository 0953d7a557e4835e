"""Finished runs: a small one that really ran, and a folder with made-up figures, on which the report is tested."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from lilift.data.world import test_problems as world_problems
from lilift.evaluate.benchmarks.benchmark import Benchmark, Question, load_benchmark
from lilift.evaluate.evaluator import CONTROL, LIFTED, UNTRAINED, System, evaluate
from lilift.phases.run import FinishedRun, RunOptions, run_recipe
from lilift.recipe.load import dump_recipe, load_recipe
from lilift.recipe.schema import BenchmarkSettings
from lilift.recipe.storage import JsonLines, write_json, write_text
from tests.phases.small_run import SMALL

PHASES = ("data", "align", "transfer", "control", "evaluate", "export")
SKILL = {
    UNTRAINED: {"en": 0.02},
    CONTROL: {"en": 0.08, "om": 0.03, "qu": 0.02, "ln": 0.06, "fj": 0.01},
    LIFTED: {"en": 0.95, "om": 0.6, "qu": 0.62, "ln": 0.74, "fj": 0.38},
}


class Pretender:
    """Knows the world's solutions and tells them as often as its skill says; otherwise a wrong number, or none."""

    def __init__(self, system: System, benchmark: Benchmark) -> None:
        problems = world_problems(benchmark.language, len(benchmark.questions), 0)
        self._responses = {problem.question.strip(): problem.response for problem in problems}
        self._skill = SKILL[system].get(benchmark.language, 0.0)
        self._rng = random.Random(f"{system.name} {benchmark.language}")

    def generate(self, questions: Sequence[str]) -> list[str]:
        return [self._answer(question) for question in questions]

    def _answer(self, question: str) -> str:
        luck = self._rng.random()
        if luck < self._skill:
            return self._responses[question]
        return "3 + 4 = 7. The answer is 107." if luck < 0.9 else "the the <b>the</b>"


def make_run(folder: Path, *, limit: int = 40) -> Path:
    """Write everything that a finished run leaves, as far as the report reads it."""
    recipe = load_recipe("tiny-cpu")
    write_text(folder / "recipe.yaml", dump_recipe(recipe))
    write_json(folder / "environment.json", ENVIRONMENT)
    write_json(folder / "plan.json", PLAN)
    write_json(folder / "measured.json", MEASURED)
    write_json(folder / "data" / "report.json", DATA)
    for stage, steps, start, end in (("align", 1500, 5.5, 0.06), ("transfer", 200, 1.9, 0.09), ("control", 200, 3.4, 1.2)):
        _write_metrics(folder / stage / "metrics.jsonl", steps, start, end)
        write_json(folder / stage / "rows.json", ROWS)
    settings = BenchmarkSettings(name="world", limit=limit)
    for system in (UNTRAINED, CONTROL, LIFTED):
        benchmarks = [load_benchmark(settings, code) for code in ("en", *recipe.languages)]
        evaluate(_Everyone(system, benchmarks), benchmarks, folder / "evaluate", system=system)
    for phase in PHASES:
        write_json(folder / phase / "done.json", {"fingerprint": "0"})
    return folder


class _Everyone:
    """The pretender of whichever language a question is in."""

    def __init__(self, system: System, benchmarks: Sequence[Benchmark]) -> None:
        self._by_question: dict[str, tuple[Pretender, Question]] = {}
        for benchmark in benchmarks:
            pretender = Pretender(system, benchmark)
            self._by_question |= {question.text: (pretender, question) for question in benchmark.questions}

    def generate(self, questions: Sequence[str]) -> list[str]:
        return [self._by_question[question][0].generate([question])[0] for question in questions]


def _write_metrics(path: Path, steps: int, start: float, end: float) -> None:
    rng = random.Random(path.parent.name)
    lines = []
    for step in range(10, steps + 1, 10):
        share = step / steps
        loss = end + (start - end) * math.exp(-7 * share) * rng.uniform(0.9, 1.1)
        rate = 3e-3 * min(1.0, step / (0.1 * steps)) * (1 + math.cos(math.pi * share)) / 2
        lines.append(
            {
                "step": step, "epoch": 1, "loss": loss, "learning_rate": rate, "grad_norm": 0.5, "tokens": 3000 * step,
                "tokens_per_second": 9000 * rng.uniform(0.9, 1.1), "memory_mib": 900.0, "seconds": 0.3 * step,
            }
        )  # fmt: skip
    JsonLines(path).rewrite(lines)


ENVIRONMENT = {
    "lilift": "0.1.0",
    "python": "3.11.9",
    "platform": "Linux-6.1-x86_64",
    "cores": 2,
    "memory_gib": 7.8,
    "gpu": None,
    "threads": 2,
    "packages": {"torch": "2.13.0", "transformers": "5.17.0", "bitsandbytes": "0.50.0", "peft": "0.21.0"},
}
PLAN = {
    "recipe": "tiny-cpu",
    "card": "cpu",
    "limit_mib": 3072.0,
    "trained_parameters": {"align": 400000, "transfer": 300000},
    "download_mib": 0.0,
    "phases": {
        name: {"peak_mib": peak, "parts_mib": {}}
        for name, peak in (("align", 980.0), ("transfer", 1010.0), ("evaluate", 870.0))
    },
    "basis": "parameters counted from the configurations; activations, logits and caches by arithmetic, not measured",
}
MEASURED = {
    "data": {"seconds": 3.1, "peak_mib": 512.0},
    "align": {"seconds": 271.4, "peak_mib": 934.5, "predicted_mib": 980.0},
    "transfer": {"seconds": 48.0, "peak_mib": 1043.0, "predicted_mib": 1010.0},
    "control": {"seconds": 47.2, "peak_mib": 1040.0, "predicted_mib": 1010.0},
    "evaluate": {"seconds": 66.0, "peak_mib": 801.0, "predicted_mib": 870.0},
    "export": {"seconds": 2.2, "peak_mib": 640.0},
}
DATA = {
    "instructions": {
        "source": "world", "layout": "world", "columns": {}, "seen": [],
        "read": 6000, "kept": 5987, "dropped": {"no number": 13},
    },
    "lexicons": {
        code: {"source": "world", "entries": 410, "pairs": pairs, "dropped": {"the same word": 7}, "coverage": coverage}
        for code, pairs, coverage in (("om", 452, 0.981), ("qu", 449, 0.979), ("ln", 455, 0.983), ("fj", 450, 0.98))
    },
}  # fmt: skip
ROWS = {
    "read": 6000, "kept": 5990, "dropped_source": 8, "dropped_sequence": 2, "truncated_source": 0, "truncated_response": 0,
    "longest_source": 127, "longest_sequence": 188,
}  # fmt: skip


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A whole small run that nothing disturbed; only to be read."""
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    return run_recipe(load_recipe("tiny-cpu", SMALL), folder, RunOptions(quiet=True))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run; look, but change nothing."""
    return make_run(tmp_path_factory.mktemp("runs") / "tiny-cpu")
