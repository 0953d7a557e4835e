"""`lilift recipe new`: questions or options, checked answers, and a valid recipe that extends the nearest shipped one."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from lilift.cli import app, recipe_new
from lilift.data.languages import language as find_language
from lilift.phases.new_recipe.answer_checks import check_benchmark
from lilift.phases.new_recipe.language_fit import about_encoder, about_language
from lilift.phases.new_recipe.nearest_recipe import check_card, check_llm
from lilift.recipe.errors import LiliftError
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import BenchmarkName

QUESTIONS = "id,language,question,answer\n1,en,Two and two?,4\n1,sw,Mbili na mbili?,4\n"
WORDS = "water\tmaji\nchild\tmtoto\nbook\tkitabu\napple\ttofaa\nhouse\tnyumba\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a dictionary, exercises and questions, in which lilift runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.tsv").write_text(WORDS, encoding="utf-8")
    (tmp_path / "problems.csv").write_text(QUESTIONS, encoding="utf-8")
    rows = [{"question": f"A child has {n} books. How many books?", "response": f"#### {n}"} for n in range(3)]
    (tmp_path / "odd.csv").write_text("swali,jibu\nMbili na mbili?,4\nTatu na tatu?,6\n", encoding="utf-8")
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
    lines = ["Klingon", "sw", "", "nothing.tsv", "words.tsv", "", "", "rtx9000", "12gb", "llama", "Qwen/Qwen3-8B"]
    recipe_new.make(answers(), None, replace=False, ask=typed(lines))
    out = capsys.readouterr().out
    assert out.count("unknown language 'Klingon'") == 1
    assert "Please answer, for example: sw.tsv" in out
    assert "nothing.tsv: there is no such file, folder or publisher" in out
    assert "does not know the card 'rtx9000'" in out
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
        ({"dictionary": "train.jsonl"}, "none of 3 rows (their keys: question, response) has English and Swahili"),
        ({"dictionary": "gatitos"}, "gatitos has no dictionary of Swahili (sw)"),
        ({"dictionary": "world"}, "the excerpt that comes with lilift has no Swahili"),
        ({"exercises": "missing.jsonl"}, "there is no such file or folder"),
        ({"exercises": "words.tsv"}, "cannot tell question from response"),
        ({"benchmark": "mgsmm"}, "there is no such file, folder or benchmark"),
        ({"benchmark": "world"}, "world has no questions in 'sw'"),
        ({"benchmark": "train.jsonl"}, "these are the exercises that the model trains on"),
        ({"benchmark": "odd.csv"}, "name them after the file: odd.csv question=…,answer=…"),
        ({"benchmark": "odd.csv swali=a,answer=b"}, "'swali=a' does not name a column"),
        ({"exercises": "odd.csv"}, "name them after the file: odd.csv question=…,response=…"),
        ({"exercises": "odd.csv question=swali"}, "response is missing; add response=…"),
        ({"card": "6gb"}, "no shipped recipe is for a card of less than 8 GB"),
        ({"card": "rtx9000"}, "lilift does not know the card 'rtx9000'; give its memory, such as 16gb"),
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
    (here / "mine-2.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(LiliftError, match=r"this file exists; give another name, as in `lilift recipe new mine-3\.yaml`"):
        recipe_new.make(answers(language="sw"), Path("mine.yaml"), replace=False, ask=None)
    assert (here / "mine.yaml").read_text(encoding="utf-8") == "mine"
    recipe_new.make(answers(**FULL), Path("mine.yaml"), replace=True, ask=None)
    assert load_recipe("mine.yaml").name == "mine"


def next_commands(out: str) -> list[str]:
    return [line.strip() for line in out.partition("\nnext\n")[2].splitlines()]


def test_downloads_are_the_first_commands(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"language": "ha", "dictionary": "wiktionary", "card": "t4", "llm": "qwen3-4b-12gb", "benchmark": "sib200"}
    recipe_new.make(answers(**given), None, replace=False, ask=None)
    out = capsys.readouterr().out
    assert "licence: CC BY-SA" in out
    assert next_commands(out)[:3] == [
        "lilift lexicon fetch wiktionary --languages ha --into lexicons",
        "lilift eval fetch sib200",
        "lilift data preview hausa.yaml",
    ]
    recipe = load_recipe("hausa.yaml")
    assert (recipe.card, recipe.llm.model, recipe.llm.dtype) == ("t4", "Qwen/Qwen3-4B", "float16")
    assert recipe.data.lexicons == {"*": str(here / "lexicons")}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("benchmark", [name for name in get_args(BenchmarkName) if name not in ("custom", "world")])
def test_every_command_for_a_published_benchmark_is_one_that_lilift_knows(benchmark: str) -> None:

    found = check_benchmark(benchmark, find_language("sw"))
    assert found is not None
    assert found.on_hub or app.build_parser().parse_args(["eval fetch", *shlex.split(found.fetch)[3:]]).benchmark == benchmark


@pytest.mark.usefixtures("here")
def test_columns_stand_after_the_file() -> None:
    given = {"benchmark": "odd.csv question=swali,answer=jibu", "exercises": "odd.csv question=swali, response=jibu"}
    with pytest.raises(LiliftError, match="these are the exercises"):
        recipe_new.make(answers(**FULL | given), None, replace=False, ask=None)
    Path("more.csv").write_text(Path("odd.csv").read_text(encoding="utf-8"), encoding="utf-8")
    given["exercises"] = given["exercises"].replace("odd", "more")
    recipe_new.make(answers(**FULL | given), None, replace=False, ask=None)
    recipe = load_recipe("swahili.yaml")
    assert recipe.data.instructions.columns is not None
    assert (recipe.data.instructions.columns.question, recipe.data.instructions.columns.response) == ("swali", "jibu")
    own = recipe.evaluate.benchmarks[0]
    assert own.columns is not None
    assert (own.columns.question, own.columns.answer, own.languages) == ("swali", "jibu", ("sw",))


@pytest.mark.usefixtures("here")
def test_a_text_in_the_wrong_language_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    english = "How many of the apples that she had with her were there and what was each of them worth? " * 2
    Path("asked.csv").write_text(f"question,answer\n{english},4\n", encoding="utf-8")
    swahili = "Juma ana maembe kumi na anampa rafiki yake maembe matatu ana maembe mangapi sasa " * 4
    Path("swahili.csv").write_text(f"question,response\n{swahili},4\n", encoding="utf-8")
    recipe_new.make(answers(**FULL | {"benchmark": "asked.csv", "exercises": "swahili.csv"}), None, replace=False, ask=None)
    out = capsys.readouterr().out
    assert "warning: these questions look like English, not Swahili" in out
    assert "warning: these exercises do not look like English" in out
    recipe_new.make(answers(**FULL), None, replace=True, ask=None)
    assert "look like English" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("language", "recipe", "words"),
    [
        ("ti", "qwen3-4b-12gb", "mT5, the encoder of qwen3-4b-12gb, has not read Tigrinya, .*: llama3.1-8b-nllb-16gb"),
        ("sw", "qwen3-4b-12gb", None),
        ("ti", "llama3.1-8b-nllb-16gb", None),
        ("my", "tiny-cpu", "the stand-in encoder has read only Oromo, Quechua, Lingala, Fijian"),
        ("ln", "tiny-cpu", None),
    ],
)
def test_an_encoder_that_has_not_read_the_language_is_named(language: str, recipe: str, words: str | None) -> None:
    lines = about_encoder(find_language(language), load_recipe(recipe))
    assert len(lines) == (words is not None)
    assert words is None or re.search(words, lines[0])


def test_a_language_that_an_llm_knows_is_told_first() -> None:
    assert "the authors of Qwen3 say that it knows Burmese" in about_language(find_language("my"))[0]
    assert about_language(find_language("ti")) == []


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
    known = {"12GB": "12gb", "RTX 4090": "24gb", "Tesla T4": "t4", "h100": "24gb", "cpu": "cpu", "24": "24gb", "20 GB": "16gb"}
    known |= {"NVIDIA GeForce RTX 3060": "12gb", "NVIDIA A100-SXM4-40GB": "24gb", "RTX 4060 Ti 8GB": "8gb", "11.5gib": "8gb"}
    assert {text: check_card(text) for text in known} == known
    with pytest.raises(LiliftError, match="give its memory"):  # it has 16 GB, and the desktop's card of this name 24
        check_card("NVIDIA GeForce RTX 4090 Laptop GPU")
