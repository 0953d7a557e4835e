"""The rule of `--route auto`: figures within both limits are read as text, and a translation with every number comes next."""

from __future__ import annotations

import pytest

from lilift.phases.answering.route_rule import Reading, Route, RouteSettings, choose_route, count_words, reading_of
from lilift.translation.translation_cache import Translation

WELL, MANY_TOKENS, MANY_BITS = Reading(4.0, 12.0), Reading(4.01, 5.0), Reading(1.5, 12.01)
KEPT, LOST, CUT = Translation("7"), Translation("", numbers_kept=False), Translation("7", complete=False)
ALL: tuple[Route, ...] = ("plain", "pivot", "bridge")


@pytest.mark.parametrize(
    ("open_routes", "reading", "translation", "route", "says"),
    [
        (ALL, WELL, LOST, "plain", "4.00 tokens a word, at most 4; 12.00 bits a word, at most 12"),
        (ALL, MANY_TOKENS, KEPT, "pivot", "4.01 tokens a word, more than 4"),
        (ALL, MANY_BITS, KEPT, "pivot", "the translation has every number"),
        (ALL, MANY_BITS, LOST, "bridge", "the translation has lost a number"),
        (ALL, MANY_BITS, CUT, "bridge", "the translation is not complete"),
        (("plain", "pivot"), MANY_BITS, LOST, "pivot", "there is no bridge"),
        (("plain", "bridge"), MANY_BITS, KEPT, "bridge", "no translator"),
        (("plain",), MANY_BITS, KEPT, "plain", "no other route is open"),
    ],
)
def test_auto(open_routes: tuple[Route, ...], reading: Reading, translation: Translation, route: Route, says: str) -> None:
    taken = choose_route(RouteSettings(), open_routes, lambda: reading, lambda: translation)
    assert taken.route == route
    assert says in taken.line
    assert taken.as_dict()["route"] == route


def test_a_chosen_route_reads_no_figures_and_limits_are_the_users() -> None:
    def never() -> Reading:
        raise AssertionError("not needed")

    assert choose_route(RouteSettings("bridge"), ALL, never, lambda: KEPT).route == "bridge"
    strict = RouteSettings(tokens_per_word=1.0)
    assert choose_route(strict, ALL, lambda: Reading(1.5, 5.0), lambda: KEPT).route == "pivot"


def test_words_are_runs_of_letters_or_a_few_letters_of_scripts_without_blanks() -> None:
    assert count_words("Juma ana maembe 15, ng'ombe 3.") == 4
    assert count_words("हर दिन") == 2, "vowel signs belong to their word"
    assert count_words("小明有三个苹果") == pytest.approx(3.5)
    assert count_words("แม่") == pytest.approx(1.0)
    assert count_words("12 + 5 = 17") == 1
    assert reading_of("two words", 6, 20.0) == Reading(3.0, 10.0)
