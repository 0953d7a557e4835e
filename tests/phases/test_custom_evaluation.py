"""Questions of one's own through everything that reads them: the command, results, report, held-out texts, changed files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from lilift.cli import app
from lilift.evaluate.benchmarks.benchmark import load_benchmark
from lilift.evaluate.benchmarks.benchmark_rows import without_instruction
from lilift.evaluate.claimed_answers import changed_since
from lilift.evaluate.evaluator import evaluate, load_benchmarks, read_scores
from lilift.phases.comparison.compare_evaluations import compare_evaluations
from lilift.phases.held_out import held_out_questions
from lilift.phases.report.evaluation_pages import write_evaluation_page
from lilift.phases.run import FinishedRun
from lilift.recipe.errors import RunFolderError
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import BenchmarkSettings

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "problems.csv"


class Sevens:
    """Answers every question with the same words."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def generate(self, questions: Sequence[str]) -> list[str]:
        self.asked += questions
        return ["It is 7. The answer is 7, yes."] * len(questions)


def own(path: Path, **more: object) -> BenchmarkSettings:
    return BenchmarkSettings.model_validate({"name": "custom", "path": str(path), **more})


def test_the_example_of_the_documentation_goes_through_the_command(
    finished_run: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "results"
    command = ["eval", str(finished_run.path), "--benchmark", str(EXAMPLE), "--output", str(output), "--max-new-tokens", "8"]
    assert app.main(command) == 0
    shown = capsys.readouterr().out
    before, _, table = shown.partition("right answers")
    assert "custom-problems: 5 questions in en, sw, aligned by `id`; answers are numbers" in before
    assert "Swahili" in table
    [scores] = read_scores(output / "scores.json")[0].benchmarks
    assert (scores.benchmark, [one.language for one in scores.languages]) == ("custom-problems", ["en", "sw"])
    assert len((output / "lifted" / "custom-problems" / "sw.jsonl").read_text(encoding="utf-8").splitlines()) == 5


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--benchmark", "mgsn"], 2, "no benchmark, file or folder 'mgsn'; choose from world, afrimgsm, mgsm"),
        (["--benchmark", "./absent.csv"], 3, "absent.csv: no such file or folder"),
        (["--benchmark", "absent.csv"], 3, "absent.csv: no such file or folder"),
        (["--benchmark", "custom"], 2, "--benchmark custom needs the path"),
        (["--benchmark", str(EXAMPLE), "--path", "x"], 2, "name two paths; leave --path out"),
        (["--benchmark", str(EXAMPLE), "--source", "hub"], 2, "--source hub has no effect on your own questions"),
        (["--benchmark", str(EXAMPLE), "--scoring", "published"], 2, "not for your own questions"),
        (["--benchmark", str(EXAMPLE), "--languages", "yo"], 3, "--languages: problems.csv has no questions in 'yo'"),
        (["--benchmark", str(EXAMPLE), "--labels", "likelihood"], 3, "its answers are numbers; leave `labels` out"),
        (["--benchmark", str(EXAMPLE), "--columns", "answer"], 2, "'answer' does not name a column; write role=name"),
        (["--benchmark", str(EXAMPLE), "--columns", "answer=gold"], 3, "there is no column 'gold'"),
        (["--benchmark", "mgsm", "--columns", "answer=gold"], 2, "mgsm needs none; leave it out"),
    ],
)
def test_a_mistake_is_one_line_before_a_model_is_loaded(
    capsys: pytest.CaptureFixture[str], options: list[str], code: int, message: str
) -> None:
    assert app.main(["eval", "no-model", *options]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_results_have_the_name_and_the_report_has_the_title_and_the_kind_of_answers(tmp_path: Path) -> None:
    labels = tmp_path / "t_en.csv"
    labels.write_text("text,label\na,yes\nb,no\nc,yes\nd,no\n", encoding="utf-8")
    benchmarks = load_benchmarks([own(EXAMPLE, title="School maths"), own(labels)], ["en"], seed=0)
    scores = evaluate(Sevens(), benchmarks, tmp_path / "results")
    assert [(one.benchmark, one.languages[0].correct) for one in scores.benchmarks] == [
        ("custom-School-maths", 1),
        ("custom-t", 2),
    ]
    page = write_evaluation_page(tmp_path / "results", "Mine").read_text(encoding="utf-8")
    assert "School maths" in page
    assert "Questions of your own." in page
    assert "the number of responses without a number" in page
    assert "the number of responses without a label" in page
    compared = compare_evaluations(str(tmp_path / "results"), str(tmp_path / "results"))
    assert [one.benchmark for one in compared.comparisons] == ["custom-School-maths", "custom-t"]


def test_an_evaluation_continues_with_the_same_questions_and_refuses_changed_ones(tmp_path: Path) -> None:
    path = tmp_path / "problems.csv"
    shutil.copy(EXAMPLE, path)
    settings, folder = [own(path)], tmp_path / "results"
    evaluate(Sevens(), load_benchmarks([own(path, limit=2)], ["sw"], seed=0), folder)
    again = Sevens()
    evaluate(again, load_benchmarks(settings, ["sw"], seed=0), folder)
    assert len(again.asked) == 6
    assert changed_since(folder, settings) == []
    path.write_text(
        path.read_text(encoding="utf-8").replace("basi?,27", "basi?,28").replace("bus?,27", "bus?,28"), encoding="utf-8"
    )
    assert changed_since(folder, settings) == [path]
    with pytest.raises(RunFolderError, match=r"right answers in 'en' have changed since .*choose another folder"):
        evaluate(Sevens(), load_benchmarks(settings, ["sw"], seed=0), folder)


def test_training_texts_that_are_own_questions_are_found_in_every_language() -> None:
    for section in ("data.held_out", "evaluate.benchmarks"):
        held_out = held_out_questions(load_recipe("tiny-cpu", [f"{section}=[{{name: custom, path: {EXAMPLE}}}]"]))
        for question in (
            "Amina has 3 mangoes and buys 4 more. How many mangoes does she have?",
            "jagi linabeba lita 2. Limejaa robo tatu. Kuna lita ngapi ndani yake",
        ):
            found = held_out.find(question)
            assert found is not None
            assert (found.benchmark, found.match) == ("custom-problems", "same text")


def test_running_text_is_compared_with_the_questions_in_its_own_language() -> None:
    settings = ["encoder.model=none", "alignment.layout=text", "transfer.control=false", "evaluate.alignment=null"]
    settings += ["languages=[sw, om]", "evaluate.benchmarks=[{name: xnli, source: sample}]", "align.trains=adapter"]
    [question, *_] = load_benchmark(BenchmarkSettings(name="xnli", source="sample"), "sw").questions
    for texts, found in (("english", False), ("monolingual", True)):
        recipe = load_recipe("tiny-cpu", [*settings, f"align.texts=[{texts}]", "data.monolingual.files=x"])
        assert (held_out_questions(recipe).find(without_instruction(question.text)) is not None) == found


def test_validate_shows_what_was_recognised_and_names_the_setting_of_a_missing_language(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def validate(*overrides: str) -> tuple[int, str, str]:
        code = app.main(["recipe", "validate", "tiny-cpu", *(f"--set={override}" for override in overrides)])
        return (code, *capsys.readouterr())

    mine = f"evaluate.benchmarks=[{{name: world}}, {{name: custom, path: {EXAMPLE}, languages: [en, sw]}}]"
    code, out, _ = validate(mine)
    assert code == 0
    assert "custom-problems: 5 questions in en, sw" in out
    code, _, error = validate(mine.replace(", languages: [en, sw]", ""))
    assert (code, error) == (
        3,
        "lilift: evaluate.benchmarks[1].languages: problems.csv has no questions in 'om'; choose from en, sw\n",
    )
    code, _, error = validate("languages=[sw]")
    assert code == 3
    assert error.startswith("lilift: evaluate.benchmarks[0].languages: world has no questions in 'sw'; choose from en, om")
    (tmp_path / "test_sw.json").write_text(json.dumps([]), encoding="utf-8")
    code, _, error = validate("evaluate.benchmarks=[{name: mmwp, path: " + str(tmp_path) + "}]")
    assert (code, error) == (3, "lilift: evaluate.benchmarks[0].languages: mmwp has no questions in 'en'; choose from sw\n")
    assert validate("evaluate.benchmarks=[{name: mmwp, path: ./not-here-yet}]")[0] == 0
