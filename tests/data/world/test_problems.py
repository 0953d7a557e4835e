"""The world's problems: right answers, nothing held out in training, the same problems in every language."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilift.data import world
from lilift.data.world.patterns import patterns
from lilift.data.world.problems import held_out_pair
from lilift.recipe.errors import DataError

TRAINING = world.training_problems(3000, seed=0)
TEST = world.test_problems("en", 400, seed=0)
EQUATION = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)\.")


def pattern_of(example_id: str) -> str:
    return example_id.split("/")[0]


def pairs_of(response: str) -> list[tuple[int, int]]:
    return [(int(left), int(right)) for left, _, right, _ in EQUATION.findall(response)]


@pytest.mark.parametrize("examples", [TRAINING, TEST], ids=["training", "test"])
def test_each_worked_solution_is_right_and_uses_the_numbers_of_its_question(examples: list[world.Example]) -> None:
    for example in examples:
        equations = EQUATION.findall(example.response)
        results = []
        for left, operator, right, result in equations:
            expected = {"+": int(left) + int(right), "-": int(left) - int(right), "*": int(left) * int(right)}.get(operator)
            assert int(result) * int(right) == int(left) if operator == "/" else int(result) == expected, example
            results.append(result)
        assert example.answer == results[-1]
        assert example.response.endswith(f"The answer is {example.answer}.")
        used = [number for left, _, right, _ in equations for number in (left, right)]
        intermediate = results[:-1]
        for number in intermediate:
            used.remove(number)
        assert sorted(used) == sorted(re.findall(r"\d+", example.question)), example


def test_training_is_never_held_out_and_test_questions_always_are_in_pattern_and_in_numbers() -> None:
    held_out_patterns = {pattern.name for pattern in patterns() if pattern.held_out}
    for example in TRAINING:
        assert pattern_of(example.id) not in held_out_patterns
        assert not any(held_out_pair(*pair) for pair in pairs_of(example.response))
        assert not world.is_held_out(example)
    for example in TEST:
        assert pattern_of(example.id) in held_out_patterns
        assert all(held_out_pair(*pair) for pair in pairs_of(example.response))
        assert world.is_held_out(example)


@given(seeds=st.tuples(st.integers(0, 2**31), st.integers(0, 2**31)))
@settings(max_examples=15, deadline=None)
def test_no_question_of_a_test_occurs_in_training_whatever_the_seeds(seeds: tuple[int, int]) -> None:
    training, test = world.training_problems(150, seeds[0]), world.test_problems("en", 150, seeds[1])
    numbers = [{(min(pair), max(pair)) for example in part for pair in pairs_of(example.response)} for part in (training, test)]
    assert not numbers[0] & numbers[1]
    assert not {pattern_of(example.id) for example in training} & {pattern_of(example.id) for example in test}


def test_a_swapped_pair_is_held_out_too() -> None:
    assert all(held_out_pair(left, right) == held_out_pair(right, left) for left in range(60) for right in range(60))


def test_every_word_of_a_test_question_occurs_in_training() -> None:
    words = {word for example in TRAINING for word in re.findall(r"[a-z]+", example.question.lower())}
    unseen = {word for example in TEST for word in re.findall(r"[a-z]+", example.question.lower())} - words
    assert not unseen


def test_held_out_patterns_cover_every_operation_and_two_steps() -> None:
    held_out = [pattern for pattern in patterns() if pattern.held_out]
    assert len(held_out) >= 8
    assert {step.operator for pattern in held_out for step in pattern.steps if len(pattern.steps) == 1} == set("+-*/")
    assert any(len(pattern.steps) == 2 for pattern in held_out)
    assert len(patterns()) - len(held_out) >= 45


def test_every_language_is_asked_the_same_problems() -> None:
    for language in world.WORLD_LANGUAGES:
        asked = world.test_problems(language, 100, seed=3)
        for english, foreign in zip(world.test_problems("en", 100, seed=3), asked, strict=True):
            assert (english.id, english.response, english.answer) == (foreign.id, foreign.response, foreign.answer)
            assert sorted(re.findall(r"\d+", english.question)) == sorted(re.findall(r"\d+", foreign.question))
            assert english.question != foreign.question


def test_the_seed_decides_everything() -> None:
    assert world.training_problems(50, 7) == world.training_problems(50, 7)
    assert world.training_problems(50, 7) == world.training_problems(100, 7)[:50]
    assert world.training_problems(50, 7) != world.training_problems(50, 8)
    assert world.monolingual_text("om", 20, 7) == world.monolingual_text("om", 20, 7)


def test_monolingual_texts_are_not_parallel() -> None:
    numbers = {
        language: [tuple(sorted(re.findall(r"\d+", text))) for text in world.monolingual_text(language, 200, 0)]
        for language in ("en", *world.WORLD_LANGUAGES)
    }
    for language, found in numbers.items():
        if language != "en":
            same = sum(ours == theirs for ours, theirs in zip(found, numbers["en"], strict=True))
            assert same < 20, f"{language}: {same} of 200 texts hold the numbers of the English text beside them"


def test_an_unknown_language_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"no language 'xx'.*om"):
        world.test_problems("xx", 1, 0)
