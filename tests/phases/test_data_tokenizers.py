"""The data phase settles the prompt of a run, whatever the date says later, and counts control tokens."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lilift.cli import app
from lilift.data.texts.kept_template import kept_template
from lilift.model.assemble_bridge import load_bridge
from lilift.model.sources import model_folder_or_hub
from lilift.phases.answering.systems import tokenisation_for
from lilift.recipe.load import load_recipe

DATED = (
    "{{ bos_token }}Today is {{ strftime_now('%d %b %Y') }}. {% for m in messages %}{% if m['role'] == 'user' %}"
    "Q: {{ m['content'] | trim }}\nA:{% else %} {{ m['content'] | trim }}{{ eos_token }}{% endif %}{% endfor %}"
)
ROWS = [("Which tag ends </s> text?", "It is </s> in HTML 4."), ("What is two and two?", "Four <unk> apples.")]


def set_chat_template(llm: Path, template: str) -> None:
    config = json.loads((llm / "tokenizer_config.json").read_text(encoding="utf-8"))
    (llm / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": template}), encoding="utf-8")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe whose LLM's chat template names the day."""
    shutil.copytree(model_folder_or_hub("stand-in:llm"), tmp_path / "llm")
    set_chat_template(tmp_path / "llm", DATED)
    rows = (json.dumps({"question": question, "response": response}) for question, response in ROWS)
    (tmp_path / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "om.tsv").write_text("apple\tuudmaa\nwhich\tkam\n", encoding="utf-8")
    path = tmp_path / "dated.yaml"
    data = f"{{template: chat, instructions: {{source: {tmp_path / 'rows.jsonl'}}}, lexicons: {{om: {tmp_path / 'om.tsv'}}}}}"
    path.write_text(
        f"extends: tiny-cpu\nname: dated\nlanguages: [om]\nllm: {{model: {tmp_path / 'llm'}}}\n"
        f"alignment: {{layout: soft+text}}\ndata: {data}\nevaluate: {{alignment: null}}\n",
        encoding="utf-8",
    )
    return path


def test_the_day_of_training_stays(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert app.main(["recipe", "run", str(recipe), "--run-folder", str(run), "--until", "data"]) == 0
    printed = capsys.readouterr().out
    assert "rows that spell out control tokens, which are read as text: </s> in 1, <unk> in 1" in printed
    report = json.loads((run / "data" / "report.json").read_text(encoding="utf-8"))
    assert report["control_tokens"] == {"</s>": 1, "<unk>": 1}
    kept = kept_template(run / "data")
    assert kept is not None
    assert kept.before.startswith("Today is ")

    set_chat_template(recipe.parent / "llm", DATED.replace("Today is {{ strftime_now('%d %b %Y') }}", "It is another day"))
    resolved = load_recipe(str(run / "recipe.yaml"))
    bridge = load_bridge(resolved, device="cpu")
    assert tokenisation_for(bridge, resolved, None).template.before.startswith("It is another day")
    assert tokenisation_for(bridge, resolved, run).template == kept


def test_a_template_that_refuses_an_answer_costs_no_run(recipe: Path, tmp_path: Path) -> None:
    refusing = DATED.replace("{% else %}", "{% else %}{{ raise_exception('no answers here') }}")
    set_chat_template(recipe.parent / "llm", refusing)
    run = tmp_path / "run"
    assert app.main(["recipe", "run", str(recipe), "--run-folder", str(run), "--until", "data"]) == 0
    kept = kept_template(run / "data")
    assert kept is not None
    assert kept.separator == ""


def test_a_template_that_refuses_the_question_is_one_line(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_chat_template(recipe.parent / "llm", "{{ raise_exception('system turn needed') }}")
    assert app.main(["recipe", "run", str(recipe), "--run-folder", str(tmp_path / "run"), "--until", "data"]) == 3
    assert "chat template fails (system turn needed)" in capsys.readouterr().err


def test_tokenizers_are_read_without_any_model() -> None:
    """Whoever looks at data does not wait for transformers' models, bitsandbytes and peft."""
    listing = "import sys, lilift.phases.data_tokenizers; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True).stdout.split()
    assert not {"transformers.modeling_utils", "bitsandbytes", "peft", "lilift.evaluate"} & set(loaded)
