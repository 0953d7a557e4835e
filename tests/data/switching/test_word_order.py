"""Word-order noise moves words within their clause, and does nothing else."""

from __future__ import annotations

import random
import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from lilift.data.switching.word_order import shuffled

TEXT = "Tom has 3 red apples in the big box. He buys 2 more, then he eats 1. How many apples does Tom have now?"


def clauses(text: str) -> list[Counter[str]]:
    return [Counter(clause.lower().split()) for clause in re.split(r"[.,?]", text)]


@given(st.integers(0, 10_000))
def test_every_word_and_number_stays_in_its_clause(seed: int) -> None:
    moved = shuffled(TEXT, random.Random(seed))
    assert clauses(moved) == clauses(TEXT)
    assert re.findall(r"[.,?]", moved) == re.findall(r"[.,?]", TEXT)
    assert all(sentence[0].isupper() or sentence[0].isdigit() for sentence in re.split(r"[.?] ", moved.rstrip("?")))


def test_words_are_really_moved() -> None:
    moved = [shuffled(TEXT, random.Random(seed)) for seed in range(50)]
    assert sum(text != TEXT for text in moved) >= 49
    assert len(set(moved)) >= 49


def test_function_words_and_numbers_stay_beside_what_they_belong_to() -> None:
    for seed in range(50):
        words = re.split(r"\W+", shuffled("Tom sees the dog near 3 cats", random.Random(seed)).lower())
        assert abs(words.index("the") - words.index("dog")) == 1
        assert abs(words.index("3") - words.index("cats")) == 1


def test_some_chunks_are_turned_around() -> None:
    turned = sum("box the in" in shuffled("Tom sat in the box", random.Random(seed)).lower() for seed in range(100))
    assert 20 < turned < 80


def test_line_breaks_and_protected_spans_are_not_torn() -> None:
    text = "Take $a + b = c$ and `some code here` today\nThen stop"
    for seed in range(20):
        first, second = shuffled(text, random.Random(seed)).split("\n")
        assert "$a + b = c$" in first
        assert "`some code here`" in first
        assert sorted(second.lower().split()) == ["stop", "then"]


def test_a_name_keeps_its_capital_where_it_is_moved() -> None:
    found = {shuffled("Tom sleeps", random.Random(seed), frozenset(["tom"])) for seed in range(20)}
    assert found == {"Tom sleeps", "Sleeps Tom"}
    assert {shuffled("Dogs sleep", random.Random(seed)) for seed in range(20)} == {"Dogs sleep", "Sleep dogs"}
