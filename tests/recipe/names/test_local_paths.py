"""One rule says what is a file and what is a name on the hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from lilift.data.rows.row_files import is_local
from lilift.model.sources import model_folder_or_hub
from lilift.recipe.errors import ModelError, RecipeError
from lilift.recipe.load import load_recipe
from lilift.recipe.names.local_paths import fill_language, local_path, neither, resolve_settings

RECIPE = """
extends: tiny-cpu
name: mine
languages: [Swahili, nb_NO]
encoder: {model: models/encoder}
llm: {model: "models/llm"}
data:
  instructions: {source: train.jsonl}
  lexicons: "lexicons/{language}.txt"
  template: my.yaml
evaluate:
  benchmarks: [{name: mgsm, path: files}]
  alignment: parallel
"""


def test_what_exists_is_a_file_with_or_without_a_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("models/encoder", "models/llm", "lexicons", "files", "parallel", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "train.jsonl").write_text("{}\n", encoding="utf-8")
    (tmp_path / "my.yaml").write_text("respond: 'Answer:'\n", encoding="utf-8")
    (tmp_path / "lexicons" / "swh_Latn.txt").write_text("water\tmaji\n", encoding="utf-8")
    (tmp_path / "lexicons" / "Norwegian.txt").write_text("water\tvann\n", encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    monkeypatch.chdir(tmp_path / "elsewhere")
    recipe = load_recipe(str(tmp_path / "recipe.yaml"))
    assert recipe.languages == ("sw", "nb")
    assert recipe.encoder.model == str(tmp_path / "models" / "encoder")
    assert recipe.llm.model == str(tmp_path / "models" / "llm")
    assert recipe.data.instructions.source == str(tmp_path / "train.jsonl")
    assert recipe.data.lexicon_of("sw") == str(tmp_path / "lexicons" / "swh_Latn.txt")
    assert recipe.evaluate.benchmarks[0].path == str(tmp_path / "files")
    assert recipe.evaluate.alignment == str(tmp_path / "parallel")
    prefixed = tmp_path / "prefixed.yaml"
    text = RECIPE.replace("models/", "./models/").replace(": train", ": ./train").replace('"lexicons', '"./lexicons')
    prefixed.write_text(
        text.replace(" my.", " ./my.").replace("path: f", "path: ./f").replace(": par", ": ./par"), encoding="utf-8"
    )
    assert load_recipe(str(prefixed)) == recipe


def test_lilifts_own_words_and_hub_names_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("world", "chat", "none", "google"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    given = {
        "encoder": {"model": "none"},
        "llm": {"model": "google/gemma"},
        "name": "google",
        "data": {"instructions": {"source": "world"}, "template": "chat", "lexicons": {"sw": "world"}},
    }
    assert resolve_settings(given, tmp_path) == given
    (tmp_path / "google" / "gemma").mkdir()
    assert resolve_settings(given, tmp_path)["llm"] == {"model": str(tmp_path / "google" / "gemma")}


def test_options_and_the_api_follow_the_same_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.jsonl").write_text("{}\n", encoding="utf-8")
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert is_local("train.jsonl")
    assert is_local("./missing.jsonl")
    assert not is_local("missing.jsonl")
    assert local_path("a\0b") is None
    assert local_path("x" * 5000) is None
    with pytest.raises(ModelError, match=r"model: the model folder has no config\.json"):
        model_folder_or_hub("model")
    assert model_folder_or_hub("other") == "other"


def test_what_is_missing_is_told_in_both_readings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    both = f"no file or folder of that name in {tmp_path}, and there is no such data set on the hub"
    assert neither("data/train", "there is no such data set on the hub") == both
    assert neither("./data", "no such file") == "no such file"
    (tmp_path / "recipe.yaml").write_text("extends: tiny-cpu\nname: mine\ndata: {template: my.yaml}\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"data\.template: there is no template file my\.yaml"):
        load_recipe(str(tmp_path / "recipe.yaml"))


def test_a_placeholder_takes_the_spelling_that_a_file_has(tmp_path: Path) -> None:
    (tmp_path / "Swahili.tsv").write_text("", encoding="utf-8")
    assert fill_language(f"{tmp_path}/{{language}}.tsv", "sw") == f"{tmp_path}/Swahili.tsv"
    assert fill_language(f"{tmp_path}/{{language}}.tsv", "bn") == f"{tmp_path}/bn.tsv"
    assert fill_language("plain.tsv", "bn") == "plain.tsv"
