"""`lilift recipe new`: questions or options, checked answers, and a valid recipe that extends the nearest shipped one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lilift.cli import app, recipe_new
from lilift.phases.new_recipe.nearest_recipe import check_card, check_llm
from lilift.recipe.errors import LiliftError
from lilift.recipe.load import load_recipe

QUESTIONS = "id,language,question,answer\n1,en,Two and two?,4\n1,sw,Mbili na mbili?,4\n"
WORDS = "water\tmaji\nchild\tmtoto\nbook\tkitabu\napple\ttofaa\nhouse\tnyumba\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a dictionary, exercises and questions, in which lilift runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.tsv").write_text(WORDS, encoding="utf-8")
    (tmp_path / "problems.csv").write_text(QUESTIONS, encoding="utf-8")
    rows = [{"question": f"A child has {n} books. How many books?", "response": f"#### {n}"} for n in range(3)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return tmp_path


def answers(**given: str) -> dict[str, str | None]:
    return dict.fromkeys(recipe_new.OPTIONS) | given


def typed(lines: list[str]) -> Callable[[str], str]:
    waiting = iter(lines)
    return lambda _prompt: next(waiting)


FULL = {
    "language": "Swahili",
    "dictionary": "words.tsv",
    "exercises": "train.jsonl",
    "benchmark": "problems.csv",
    "card": "rtx4070",
    "llm": "qwen3-4b-12gb",
}


def test_options_alone_write_a_valid_recipe_and_print_what_was_found(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe_new.make(answers(**FULL), Path("sub/mine.yaml"), replace=False, ask=None)
    recipe = load_recipe("sub/mine.yaml")
    assert (recipe.name, recipe.card, recipe.languages) == ("mine", "12gb", ("sw",))
    assert recipe.llm == load_recipe("qwen3-4b-12gb").llm
    assert recipe.data.lexicons == {"sw": str(here / "words.tsv")}
    assert recipe.data.instructions.source == str(here / "train.jsonl")
    assert recipe.data.instructions.limit is None  # MetaMath's limit is none for other exercises
    assert [(one.name, one.path) for one in recipe.evaluate.benchmarks] == [("custom", str(here / "problems.csv"))]
    out = capsys.readouterr().out
    for found in (
        "5 English words with 5 pairs into Swahili (sw)",
        "3 of 3 rows",
        "covers 43% of the words",
        "1 question in en, sw",
        "of 11.8 GiB on 12gb",
        "extends qwen3-4b-12gb",
    ):
        assert found in out
    assert out.endswith(
        "next\n  lilift data preview sub/mine.yaml\n  lilift recipe plan sub/mine.yaml\n  lilift recipe run sub/mine.yaml\n"
    )


@pytest.mark.usefixtures("here")
def test_in_a_terminal_a_wrong_answer_is_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["Klingon", "sw", "", "nothing.tsv", "words.tsv", "", "", "13gb", "12gb", "llama", "Qwen/Qwen3-8B"]
    recipe_new.make(answers(), None, replace=False, ask=typed(lines))
    out = capsys.readouterr().out
    assert out.count("unknown language 'Klingon'") == 1
    assert "Please answer, for example: sw.tsv" in out
    assert "nothing.tsv: there is no such file, folder or publisher" in out
    assert "'13gb'" in out
    assert "llama: neither a shipped recipe, a folder, nor a name on the hub" in out
    recipe = load_recipe("swahili.yaml")
    assert recipe.llm.model == "Qwen/Qwen3-8B"
    assert recipe.data.instructions.source == "meta-math/MetaMathQA"
    assert recipe.evaluate.benchmarks == ()


@pytest.mark.parametrize("option", ["language", "dictionary", "card", "llm"])
def test_without_a_terminal_a_missing_answer_names_its_option(
    here: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"--{name}={value}" for name, value in FULL.items() if name != option]
    assert app.main(["recipe", "new", *given]) == 2
    assert f"lilift: `lilift recipe new` needs --{option}," in capsys.readouterr().err
    assert not list(here.glob("*.yaml"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"language": "English"}, "the LLM already knows English"),
        ({"language": "Hausa"}, "has no questions in 'ha'"),
        ({"dictionary": "train.jsonl"}, "are not pairs of English and translation"),
        ({"dictionary": "gatitos"}, "gatitos has no dictionary of Swahili (sw)"),
        ({"dictionary": "world"}, "the excerpt that comes with lilift has no Swahili"),
        ({"exercises": "missing.jsonl"}, "there is no such file or folder"),
        ({"exercises": "words.tsv"}, "cannot tell question from response"),
        ({"benchmark": "mgsmm"}, "there is no such file, folder or benchmark"),
        ({"benchmark": "world"}, "world has no questions in 'sw'"),
        ({"card": "6gb"}, "lilift does not know the card '6gb'"),
        ({"card": "8gb", "llm": "llama-13b-24gb"}, "even with one row at a time"),
        ({"llm": "./words.tsv"}, "has no config.json"),
    ],
)
def test_a_wrong_answer_is_one_line_and_writes_nothing(here: Path, changes: dict[str, str], words: str) -> None:
    with pytest.raises(LiliftError) as caught:
        recipe_new.make(answers(**FULL | changes), None, replace=False, ask=None)
    assert words in str(caught.value)
    assert not list(here.glob("*.yaml"))


def test_a_file_that_exists_is_kept_unless_you_say_so(here: Path) -> None:
    (here / "mine.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(LiliftError, match="this file exists"):
        recipe_new.make(answers(language="sw"), Path("mine.yaml"), replace=False, ask=None)
    assert (here / "mine.yaml").read_text(encoding="utf-8") == "mine"
    recipe_new.make(answers(**FULL), Path("mine.yaml"), replace=True, ask=None)
    assert load_recipe("mine.yaml").name == "mine"


def test_a_published_dictionary_becomes_the_first_command(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"language": "ha", "dictionary": "wiktionary", "card": "t4", "llm": "qwen3-4b-12gb", "benchmark": "afrimgsm"}
    recipe_new.make(answers(**given), None, replace=False, ask=None)
    out = capsys.readouterr().out
    assert "licence: CC BY-SA" in out
    assert "next\n  lilift lexicon fetch wiktionary --languages ha --into lexicons\n" in out
    recipe = load_recipe("hausa.yaml")
    assert (recipe.card, recipe.llm.model, recipe.llm.dtype) == ("t4", "Qwen/Qwen3-4B", "float16")
    assert recipe.data.lexicons == {"*": str(here / "lexicons")}
    assert "lilift eval fetch afrimgsm" in (here / "hausa.yaml").read_text(encoding="utf-8")


def test_the_stand_ins_take_a_language_and_questions_that_they_do_not_have(here: Path) -> None:
    (here / "own.csv").write_text("question,answer\nMbili na mbili?,4\n", encoding="utf-8")
    recipe_new.make(answers(**FULL | {"card": "cpu", "llm": "tiny-cpu", "benchmark": "own.csv"}), None, replace=False, ask=None)
    recipe = load_recipe("swahili.yaml")
    assert recipe.evaluate.alignment is None
    assert recipe.evaluate.benchmarks[0].languages == ("sw",)


@pytest.mark.usefixtures("here")
def test_other_exercises_need_a_soft_token_for_each_word() -> None:
    given = FULL | {"card": "cpu", "llm": "HuggingFaceTB/SmolLM2-360M-Instruct"}
    recipe_new.make(answers(**given), None, replace=False, ask=None)
    recipe = load_recipe("swahili.yaml")
    assert (recipe.alignment.pool, recipe.data.template, recipe.data.instructions.columns) == (1, "plain", None)


def test_smaller_batches_make_a_larger_recipe_fit() -> None:
    found = check_llm("llama-7b-24gb", "12gb")
    assert found.base.name == "llama-7b-24gb"
    assert found.tokens == {"evaluate.tokens_per_batch": 2048}


@pytest.mark.parametrize(
    ("model", "card", "base"),
    [
        ("Qwen/Qwen3-8B", "16gb", "qwen3-8b-16gb"),  # the very model
        ("Qwen/Qwen2.5-7B-Instruct", "24gb", "qwen2.5-7b-24gb"),  # its family and size
        ("google/gemma-2-2b", "12gb", "llama3.2-3b-12gb"),  # the nearest size
        ("someone/unnamed", "cpu", "smollm2-135m-cpu"),  # stand-ins are no LLM to extend
    ],
)
def test_the_nearest_recipe_is_extended(model: str, card: str, base: str) -> None:
    assert check_llm(model, card).base.name == base


def test_a_card_is_a_size_a_name_or_the_largest_that_recipes_know() -> None:
    assert [check_card(text) for text in ("12GB", "RTX 4090", "Tesla T4", "h100", "cpu")] == [
        "12gb",
        "24gb",
        "t4",
        "24gb",
        "cpu",
    ]
