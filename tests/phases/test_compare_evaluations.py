"""Two evaluations found on the disk."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from lilift.cli.app import main
from lilift.evaluate.benchmarks.benchmark import Benchmark, Question
from lilift.evaluate.evaluator import CONTROL, LIFTED, System, evaluate
from lilift.phases.compare_evaluations import compare_evaluations
from lilift.recipe.errors import DataError, RunFolderError
from lilift.recipe.storage import read_json

QUESTIONS = tuple(Question(f"q{number}", f"{number} + 1?", Decimal(number + 1)) for number in range(6))


class Adder:
    """Right where the number is at least `start`."""

    def __init__(self, start: int) -> None:
        self.start = start

    def generate(self, questions: Sequence[str]) -> list[str]:
        numbers = [int(question.split()[0]) for question in questions]
        return [str(number + 1 if number >= self.start else 0) for number in numbers]


def evaluated(folder: Path, start: int, system: System = LIFTED, questions: Sequence[Question] = QUESTIONS) -> Path:
    benchmarks = [Benchmark("mmwp", code, tuple(questions), 6) for code in ("en", "sw")]
    evaluate(Adder(start), benchmarks, folder, system=system)
    return folder


def test_runs_and_their_systems_are_found_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluated(tmp_path / "a/evaluate", 4)
    evaluated(tmp_path / "a/evaluate", 1, CONTROL)
    evaluated(tmp_path / "b/evaluations/mmwp", 3)
    (found,) = compare_evaluations(f"{tmp_path}/a", f"{tmp_path}/a:control").comparisons
    assert (found.titles, found.means[0].difference) == (("both stages", "without stage 1"), 0.5)
    given = [f"{tmp_path}/a", f"{tmp_path}/b/evaluations/mmwp", "--output", str(tmp_path / "out")]
    assert main(["eval", "compare", *given]) == 0
    assert "difference +16.7" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "out/comparison.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["language"], row["only_first"], row["only_second"]) for row in rows] == [("en", "0", "1"), ("sw", "0", "1")]
    assert read_json(tmp_path / "out/comparison.json")["benchmarks"][0]["titles"] == ["a, both stages", "b, both stages"]
    page = (tmp_path / "out/comparison.html").read_text(encoding="utf-8")
    assert "a, both stages and b, both stages" in page
    assert "+16.7" in page
    assert page.count('<p class="question" dir="auto">3 + 1?</p>') == 2, "in English and in Swahili, with both responses"
    assert page.count("<dt>a, both stages</dt>") == page.count("<dt>b, both stages</dt>") > 0
    assert "| mean without English | 1 | 33.3% | 50.0% | +16.7 |" in (tmp_path / "out/comparison.md").read_text(
        encoding="utf-8"
    )


def test_what_cannot_be_compared_is_one_line(tmp_path: Path) -> None:
    first = evaluated(tmp_path / "a", 4)
    other = evaluated(tmp_path / "b", 4, questions=[Question("q1", "7 + 1?", Decimal(8))])
    with pytest.raises(DataError, match="question 'q1' in 'en' is not the same in the two evaluations"):
        compare_evaluations(str(first), str(other))
    with pytest.raises(RunFolderError, match="has no system 'control'; choose from lifted"):
        compare_evaluations(str(first), f"{first}:control")
    with pytest.raises(RunFolderError, match="holds no evaluation"):
        compare_evaluations(str(first), str(tmp_path / "c"))
    with pytest.raises(DataError, match="do not both have results on 'mgsm'"):
        compare_evaluations(str(first), str(other), benchmark="mgsm")
    (first / "lifted/mmwp/sw.jsonl").unlink()
    with pytest.raises(RunFolderError, match="answers that belong to the scores are missing"):
        compare_evaluations(str(first), str(first))
