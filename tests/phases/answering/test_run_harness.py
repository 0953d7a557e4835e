"""The lm-eval harness and lilift's own evaluation ask the same model the same questions: they must come to the same scores."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="needs lilift[lm-eval]")

from lm_eval import evaluator, simple_evaluate
from lm_eval.tasks import TaskManager

from lilift.data.world import test_problems as world_problems
from lilift.evaluate.benchmarks.benchmark import load_benchmark
from lilift.evaluate.evaluator import evaluate
from lilift.evaluate.harness_model import HarnessModel
from lilift.model.assemble_bridge import load_bridge
from lilift.phases.answering.answerer import AnswerOptions
from lilift.phases.answering.load_answerer import load_answerer
from lilift.phases.answering.run_harness import NamedModel, quiet_git
from lilift.phases.answering.systems import responder_for
from lilift.recipe.errors import RecipeError
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import BenchmarkSettings

ASKED = 40
# How the harness's own tasks mgsm_direct and gsm8k find the number: the last in the response.
GENERATE = {
    "output_type": "generate_until",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["\n\n"], "do_sample": False, "temperature": 0.0},
    "filter_list": [
        {
            "name": "flexible-extract",
            "filter": [
                {"function": "regex", "group_select": -1, "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)"},
                {"function": "take_first"},
            ],
        }
    ],
    "metric_list": [{"metric": "exact_match", "regexes_to_ignore": [",", "\\$", "\\.$"]}],
}
CHOOSE = {
    "output_type": "multiple_choice",
    "doc_to_choice": "{{labels}}",
    "doc_to_target": "{{gold}}",
    "metric_list": [{"metric": "acc"}],
}


def put_to(model: Any, rows: list[dict[str, Any]], folder: Path, how: dict[str, Any]) -> dict[str, Any]:
    """Run the harness on rows of `question` and more."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    task = {
        "task": "local",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}},
        "test_split": "test",
        "doc_to_text": "{{question}}",
        **how,
    }
    found: dict[str, Any] = simple_evaluate(
        model=model, tasks=[task], task_manager=TaskManager(include_defaults=False), bootstrap_iters=0
    )
    return found


def test_the_harness_and_our_own_mgsm_agree_on_every_response(tmp_path: Path) -> None:
    """In MGSM's file form, with problems that the small LLM can solve, and others: MGSM's own are all too hard for it."""
    problems = [one for pair in zip(world_problems("en", 125, 0), world_problems("om", 125, 0), strict=True) for one in pair]
    (tmp_path / "mgsm_en.tsv").write_text("".join(f"{one.question}\t{one.answer}\n" for one in problems), encoding="utf-8")
    options = AnswerOptions(template="plain", max_new_tokens=48)
    asked = load_benchmark(BenchmarkSettings(name="mgsm", path=str(tmp_path), limit=ASKED), "en")
    ours = evaluate(load_answerer("stand-in:llm", options).responder, [asked], tmp_path / "ours").benchmarks[0].languages[0]
    kept = (tmp_path / "ours/lifted/mgsm/en.jsonl").read_text(encoding="utf-8").splitlines()
    answers = {int(line["id"]): line for line in map(json.loads, kept)}

    rows = [{"question": question.text, "answer": str(question.gold)} for question in asked.questions]
    model = NamedModel("stand-in:llm", template="plain", max_new_tokens=48, batch_size=1, device="cuda:0")
    theirs = put_to(model, rows, tmp_path, GENERATE)
    assert 0.3 < ours.accuracy < 0.9, "right and wrong answers are both among them"
    assert theirs["results"]["local"]["exact_match,flexible-extract"] == pytest.approx(ours.accuracy)
    for sample in theirs["samples"]["local"]:
        line = answers[sample["doc_id"]]
        assert sample["resps"][0][0] == line["response"]
        assert bool(sample["exact_match"]) == line["correct"]


def test_the_harness_and_our_own_labels_by_likelihood_agree_for_a_bridged_model(tmp_path: Path) -> None:
    recipe = load_recipe("tiny-cpu")
    responder = responder_for(load_bridge(recipe, device="cpu"), recipe, None, recipe.evaluate)
    asked = load_benchmark(BenchmarkSettings(name="xnli", source="sample", labels="likelihood"), "en")
    ours = evaluate(responder, [asked], tmp_path / "ours").benchmarks[0].languages[0]
    kept = (tmp_path / "ours/lifted/xnli-sample-likelihood/en.jsonl").read_text(encoding="utf-8").splitlines()
    chosen = {int(line["id"]): line["response"] for line in map(json.loads, kept)}

    rows = [{"question": one.text, "labels": list(one.labels), "gold": str(one.gold)} for one in asked.questions]
    theirs = put_to(HarnessModel(responder), rows, tmp_path, CHOOSE)
    assert theirs["results"]["local"]["acc,none"] == pytest.approx(ours.accuracy)
    for sample in theirs["samples"]["local"]:
        values = [float(value) for ((value, _),) in sample["resps"]]
        assert rows[sample["doc_id"]]["labels"][values.index(max(values))] == chosen[sample["doc_id"]]


def test_an_unknown_model_argument_is_one_clear_line() -> None:
    with pytest.raises(RecipeError, match="does not know the model argument 'pretrained'; choose from system, max_new_tokens"):
        NamedModel("stand-in:llm", pretrained="gpt2")


@pytest.mark.skipif(shutil.which("git") is None, reason="git complains only if it is there")
def test_git_does_not_complain_in_a_folder_without_a_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert evaluator.get_git_commit_hash() is None
    assert "fatal: not a git repository" in capfd.readouterr().err  # if this fails, `quiet_git` can go
    with quiet_git():
        assert evaluator.get_git_commit_hash() is None
    assert capfd.readouterr().err == ""
    for command in ("init", "commit --allow-empty --message one"):
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *who, *command.split()], check=True, capture_output=True)
    with quiet_git():
        assert evaluator.get_git_commit_hash()
