"""What `lilift eval` is given: an LLM without a bridge answers from the command line to the scores."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path

import pytest

from lilift.cli.app import main
from lilift.data.texts.prompt_templates import TEMPLATES
from lilift.phases.answering.answerer import AnswerOptions
from lilift.phases.answering.load_answerer import load_answerer
from lilift.recipe.errors import RecipeError, RunFolderError

ASK = ["eval", "stand-in:llm", "--template", "plain", "--benchmark", "world", "--languages", "en", "--limit", "6"]


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_plain_llm_answers_greedily_and_by_drawing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    most = ["--max-new-tokens", "48", "--output"]
    assert main([*ASK, *most, str(tmp_path / "greedy"), "--json"]) == 0
    (scores,) = json.loads(capsys.readouterr().out)["benchmarks"]
    assert scores["languages"][0]["correct"] >= 4, "it solves English problems"
    greedy = lines(tmp_path / "greedy/plain/world/en.jsonl")
    assert all(line["ended"] for line in greedy)
    assert (tmp_path / "greedy/report.html").is_file()
    assert main([*ASK, "--max-new-tokens", "1", "--output", str(tmp_path / "short")]) == 0
    told = capsys.readouterr().out
    assert "the LLM alone, world: no answer in 6 of 6 responses" in told
    assert "100% of the responses were cut off at the limit of 1 tokens: set --max-new-tokens higher" in told
    drawn = [*ASK, "--samples", "3", "--temperature", "1.5", *most]
    assert main([*drawn, str(tmp_path / "drawn")]) == 0
    assert main([*drawn, str(tmp_path / "again"), "--batch-tokens", "300"]) == 0
    found = {str(line["id"]): line["responses"] for line in lines(tmp_path / "drawn/plain/world/en.jsonl")}
    assert found == {str(line["id"]): line["responses"] for line in lines(tmp_path / "again/plain/world/en.jsonl")}
    assert any(len(set(map(str, responses))) > 1 for responses in found.values() if isinstance(responses, list))
    assert main([*ASK, *most, str(tmp_path / "drawn")]) == 5, "drawn answers are not mixed with greedy ones"
    capsys.readouterr()
    alpaca = [*ASK[:3], "alpaca", *ASK[4:]]
    assert main([*alpaca, *most, str(tmp_path / "greedy")]) == 5
    assert "holds responses with the prompt template 'plain', not 'alpaca'; choose another folder" in capsys.readouterr().err


def test_options_that_do_not_fit_and_folders_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds no run"):
        load_answerer(str(tmp_path), AnswerOptions())
    (tmp_path / "lilift.json").write_text('{"format": 1}', encoding="utf-8")
    with pytest.raises(RunFolderError, match="lilift did not write it"):
        load_answerer(str(tmp_path), AnswerOptions())
    with pytest.raises(RecipeError, match="--template has no effect on this model"):
        load_answerer(str(tmp_path), AnswerOptions(template="plain"))


@pytest.fixture
def llm(tmp_path: Path) -> Path:
    """The small LLM as the hf/ of an export that was trained with the template alpaca."""
    there = Path(str(resources.files("lilift"))) / "stand_ins" / "llm"
    content = {"template": TEMPLATES["alpaca"].as_dict(), "llm": {}}
    (tmp_path / "export").mkdir()
    (tmp_path / "export/lilift.json").write_text(json.dumps(content), encoding="utf-8")
    return Path(shutil.copytree(there, tmp_path / "export/hf"))


def test_an_exported_llm_is_asked_in_the_template_of_its_training_and_in_no_other(llm: Path) -> None:
    found = load_answerer(str(llm), AnswerOptions())
    assert found.inputs["template"] == "alpaca"
    assert found.notes[0].endswith("without its bridge, in the prompt template of its training (alpaca)")
    with pytest.raises(
        RecipeError, match=r"trained with the prompt template 'alpaca', not 'plain'; leave --template out, or give"
    ):
        load_answerer(str(llm), AnswerOptions(template="plain"))
    with pytest.raises(RecipeError, match=r"always uses the prompt template of its training \(alpaca\); leave it out"):
        load_answerer(str(llm.parent), AnswerOptions(template="plain"))


def test_a_chat_template_that_is_not_used_is_said_aloud(llm: Path) -> None:
    (llm.parent / "lilift.json").unlink()
    assert load_answerer(str(llm), AnswerOptions()).notes == ()
    (llm / "chat_template.jinja").write_text("{% for one in messages %}<{{ one.content }}>{% endfor %}:", encoding="utf-8")
    (note,) = load_answerer(str(llm), AnswerOptions()).notes
    assert note.endswith("has a chat template, but lilift uses 'metamath': give --template chat if the model was tuned to chat")
    assert load_answerer(str(llm), AnswerOptions(template="metamath")).notes == (), "whoever names one knows"
    assert load_answerer(str(llm), AnswerOptions(template="chat")).notes == ()
