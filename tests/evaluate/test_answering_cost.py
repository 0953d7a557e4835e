"""What an evaluation cost: questions and seconds add up over runs, and a damaged record costs only its figures."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from lilift.evaluate.answering_cost import COST, read_costs
from lilift.evaluate.benchmarks.benchmark import Benchmark, Question
from lilift.evaluate.evaluator import evaluate


class Nought:
    """Answers 0 to everything."""

    def generate(self, questions: Sequence[str]) -> list[str]:
        return ["0"] * len(questions)


def test_seconds_and_memory_are_recorded_and_added_up(tmp_path: Path) -> None:
    questions = tuple(Question(f"q{number}", f"{number}?", Decimal(number)) for number in range(10))
    for limit in (4, 10, 10):  # the third evaluation has nothing to answer
        evaluate(Nought(), [Benchmark("mmwp", code, questions[:limit], 10) for code in ("en", "sw")], tmp_path)
    cost = read_costs(tmp_path / "lifted")["mmwp"]
    assert (cost.questions, cost.memory) == (20, "host")
    assert cost.seconds_a_question > 0
    assert cost.peak_gib is not None
    assert 0.01 < cost.peak_gib < 64
    (tmp_path / "lifted" / COST).write_text("{", encoding="utf-8")
    assert read_costs(tmp_path / "lifted") == {}
