"""The stand-ins as they ship: loaded like downloaded models, and able to do what is said of them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from transformers import AutoModelForCausalLM, AutoModelForTextEncoding, AutoTokenizer

from lilift import stand_ins
from lilift.data import world
from lilift.data.world.patterns import patterns
from lilift.data.world.problems import draw

FOLDER = Path(stand_ins.__file__).parent


@pytest.fixture(scope="module")
def llm() -> Any:
    return AutoModelForCausalLM.from_pretrained(FOLDER / "llm", dtype=torch.float32).eval()


def ask(llm: Any, texts: Sequence[str]) -> list[str]:
    """What the model says after each text, greedily."""
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "llm", padding_side="left")
    prompts = tokenizer(list(texts), return_tensors="pt", padding=True)
    ids, mask = prompts["input_ids"], prompts["attention_mask"]
    output = llm.generate(input_ids=ids, attention_mask=mask, max_new_tokens=64, do_sample=False)
    return [text.strip() for text in tokenizer.batch_decode(output[:, ids.shape[1] :], skip_special_tokens=True)]


def count_right(llm: Any, language: str, join: str, count: int) -> int:
    problems = world.test_problems(language, count, seed=11)
    said = ask(llm, [f"{problem.question}{join}Answer:" for problem in problems])
    return sum(text == problem.response for text, problem in zip(said, problems, strict=True))


def test_the_llm_is_a_llama_with_bos_eos_and_padding() -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "llm")
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 3)
    assert tokenizer("Tom")["input_ids"][0] == 1
    model = AutoModelForCausalLM.from_pretrained(FOLDER / "llm", dtype=torch.float32)
    assert model.config.model_type == "llama"
    assert model.config.vocab_size == len(tokenizer)


@pytest.mark.parametrize("join", [" ", "\n"])
def test_the_llm_solves_english_problems_whose_patterns_and_numbers_are_held_out_of_training(llm: Any, join: str) -> None:
    assert count_right(llm, "en", join, 40) >= 34


def test_the_llm_repeats_english(llm: Any) -> None:
    rng = random.Random(2)
    questions = [draw(rng, patterns(), held_out_numbers=False).question() for _ in range(20)]
    said = ask(llm, [f"{question} English:" for question in questions])
    assert sum(text == question for text, question in zip(said, questions, strict=True)) >= 15


@pytest.mark.parametrize("language", list(world.WORLD_LANGUAGES))
def test_the_llm_cannot_solve_foreign_problems(llm: Any, language: str) -> None:
    assert count_right(llm, language, " ", 20) <= 6


def test_the_encoder_loads_and_its_two_tokenizers_agree() -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "encoder")
    processor = sentencepiece.SentencePieceProcessor(model_file=str(FOLDER / "encoder" / "spiece.model"))
    model = AutoModelForTextEncoding.from_pretrained(FOLDER / "encoder", dtype=torch.float32)
    assert model.config.model_type == "mt5"
    assert model.config.vocab_size == len(tokenizer)
    for language in ("en", *world.WORLD_LANGUAGES):
        for problem in world.test_problems(language, 20, seed=1):
            assert tokenizer(problem.question)["input_ids"] == [*processor.encode(problem.question), 1]
    states = model(**tokenizer("Tom kennuu 12", return_tensors="pt")).last_hidden_state
    assert torch.isfinite(states).all()


def test_frequent_foreign_words_are_whole_tokens() -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "encoder")
    for language in world.WORLD_LANGUAGES:
        questions = [problem.question for problem in world.test_problems(language, 50, seed=0)]
        tokens = sum(len(tokenizer(question)["input_ids"]) for question in questions)
        words = sum(len(question.split()) for question in questions)
        assert tokens < 2.2 * words, language


def test_the_stand_ins_are_small() -> None:
    size = sum(path.stat().st_size for part in ("llm", "encoder") for path in (FOLDER / part).iterdir())
    assert size <= 8 * 2**20


@pytest.mark.parametrize("part", ["llm", "encoder"])
def test_the_record_says_how_they_were_made(part: str) -> None:
    record = json.loads((FOLDER / part / "RECORD.json").read_text(encoding="utf-8"))
    assert {"seed", "steps", "seconds", "parameters", "versions", "size"} <= record.keys()
    if part == "llm":
        assert set(record["accuracy"]) == {
            f"{group} patterns, {numbers} numbers" for group in ("training", "held-out") for numbers in ("training", "held-out")
        }
