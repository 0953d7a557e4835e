"""Two evaluations found on the disk."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from lilift.cli.app import main
from lilift.evaluate.benchmarks.benchmark import Benchmark, Question
from lilift.evaluate.evaluator import CONTROL, LIFTED, System, evaluate
from lilift.phases.comparison.compare_evaluations import compare_evaluations
from lilift.phases.comparison.compare_several_evaluations import compare_several_evaluations
from lilift.recipe.errors import DataError, RecipeError, RunFolderError
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
    assert page.count(">3 + 1?</p>") == 2, "in English and in Swahili, with both responses"
    assert page.count("<dt>a, both stages</dt>") == page.count("<dt>b, both stages</dt>") > 0
    assert "| mean without English | 1 | 33.3% | 50.0% | +16.7 |" in (tmp_path / "out/comparison.md").read_text(
        encoding="utf-8"
    )


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three systems of the same title: right from 4, 1 and 3 on; the third has no Swahili."""
    root = tmp_path_factory.mktemp("three")
    folders = [evaluated(root / name, start) for name, start in (("a", 4), ("b", 1))]
    evaluate(Adder(3), [Benchmark("mmwp", "en", QUESTIONS, 6)], root / "c")
    (folders[1] / "lifted/cost.json").unlink()
    return [str(folder) for folder in (*folders, root / "c")]


def test_three_systems_are_one_table(three: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(three[0]).parent / "page.html"
    assert main(["eval", "compare", *three, "--html", str(page)]) == 0
    out = capsys.readouterr().out
    assert f"B  b, both stages ({three[1]})" in out
    assert re.search(r"English +6 +33\.3 \(10–70\) +83\.3 \(44–97\) +50\.0 \(19–81\)", out)
    assert re.search(r"B − A +C − A", out)
    assert not re.search("C − B", out)
    assert re.search(r"B +2 +0 +– +–", out), "right alone, wrong alone, no recorded cost"
    assert "12 answers are left out" not in out
    assert "6 answers are left out" in out
    assert "languages left out: Swahili" in out
    text = page.read_text(encoding="utf-8")
    assert "3 systems on the same questions" in text
    assert "Only “b, both stages” is right" in text
    assert "Only “a, both stages” is right" not in text
    assert text.count('<p class="question" dir="auto">1 + 1?</p>') >= 1


def test_a_reference_and_all_pairs(three: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["eval", "compare", *three, "--reference", "all", "--json", "--output", str(tmp_path)]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert [(pair["first"], pair["second"]) for pair in found["pairs"]] == [(0, 1), (0, 2), (1, 2)]
    assert [one["accuracy"] for one in found["languages"][0]["results"]] == pytest.approx([2 / 6, 5 / 6, 3 / 6])
    assert (found["costs"][0]["questions"], found["costs"][1]) == (12, None)
    (first, second) = found["examples_only_this_one_got_right"][1]
    assert [reply["right"] for reply in first["sample"]["replies"]] == [False, True, False]
    assert (first["sample"]["question"], second["sample"]["question"]) == ("1 + 1?", "2 + 1?")
    assert read_json(tmp_path / "comparison.json")["benchmarks"] == [found]
    assert len(list(csv.DictReader((tmp_path / "comparison.csv").read_text(encoding="utf-8").splitlines()))) == 3
    compared = compare_several_evaluations(three, reference=three[2])
    assert [(pair.first, pair.second) for pair in compared.benchmarks[0].comparison.pairs] == [(2, 0), (2, 1)]
    assert main(["eval", "compare", three[0], three[1], "--reference", three[1]]) == 0
    assert "b, both stages → a, both stages" in capsys.readouterr().out


def test_too_many_or_an_unknown_reference_is_one_line(three: list[str]) -> None:
    with pytest.raises(RecipeError, match="is none of the evaluations"):
        compare_several_evaluations(three, reference="runs/other")
    with pytest.raises(RecipeError, match="6 evaluations have too many pairs"):
        compare_several_evaluations(three * 2, reference="all")
    with pytest.raises(RecipeError, match="9 evaluations are too many"):
        compare_several_evaluations(three * 3)
    with pytest.raises(DataError, match="they do not all have results on 'mgsm'"):
        compare_several_evaluations(three, benchmark="mgsm")


def test_titles_name_the_parts_of_folders_that_differ(tmp_path: Path) -> None:
    folders = [evaluated(tmp_path / name, 4) for name in ("x/one", "y/one", "y/two")]
    found = compare_several_evaluations([str(folder) for folder in folders])
    assert [one.title for one in found.evaluations] == ["x/one, both stages", "y/one, both stages", "two, both stages"]


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
