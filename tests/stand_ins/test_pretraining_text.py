"""What the stand-in LLM reads before it meets any other language."""

from __future__ import annotations

import random
import re

from lilift.data import world
from lilift.data.world.patterns import patterns
from lilift.data.world.problems import draw, held_out_pair
from lilift.data.world.world_vocabulary import vocabulary
from lilift.stand_ins.pretraining_text import Passage, clumsy_question, passage, sum_of

EQUATION = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)\.")


def passages(count: int) -> list[Passage]:
    rng = random.Random(0)
    return [passage(rng, solve=0.5, repeat=0.3, clumsy=0.4) for _ in range(count)]


def test_no_problem_works_on_a_held_out_pair_of_numbers() -> None:
    solved = [text for text in passages(2000) if text.question.endswith("?") and text.kind == "respond"]
    assert len(solved) > 800
    for text in solved:
        for left, _, right, _ in EQUATION.findall(text.response):
            assert not held_out_pair(int(left), int(right))


def test_sums_are_right_and_include_held_out_pairs() -> None:
    rng = random.Random(0)
    sums = [sum_of(rng) for _ in range(3000)]
    for left, operator, right, result in sums:
        assert {"+": left + right, "-": left - right, "*": left * right, "/": left / right}[operator] == result
        assert 2 <= min(left, right, result) <= max(left, right, result) <= 60
    assert any(held_out_pair(left, right) for left, _, right, _ in sums)


def test_there_is_no_foreign_word() -> None:
    english = {name.lower() for name in vocabulary().names}
    english |= {word for entry in vocabulary().words() for form in entry for word in form.lower().split()}
    english |= {"there", "do", "does", "did", "answer", "is"}
    for text in passages(2000):
        words = {word.lower() for word in re.findall(r"[^\W\d]+", f"{text.question} {text.response}")}
        assert words <= english, words - english


def test_a_repeated_problem_is_repeated_in_good_english() -> None:
    repeated = [text for text in passages(500) if text.kind == "reconstruct"]
    same = [text for text in repeated if text.question == text.response]
    assert 0 < len(same) < len(repeated)


def test_clumsy_english_keeps_names_numbers_and_content_words() -> None:
    rng = random.Random(1)
    dropped = {"the", "there", "do", "does", "did"}
    for _ in range(200):
        problem = draw(rng, patterns(), held_out_numbers=False)
        kept = [word for word in re.findall(r"\w+", problem.question().lower()) if word not in dropped]
        assert sorted(re.findall(r"\w+", clumsy_question(rng, problem).lower())) == sorted(kept)


def test_every_pattern_is_read() -> None:
    rng = random.Random(0)
    assert {draw(rng, patterns(), held_out_numbers=False).pattern.name for _ in range(2000)} == {
        pattern.name for pattern in patterns()
    }
    assert world.test_problems("en", 1, 0)
