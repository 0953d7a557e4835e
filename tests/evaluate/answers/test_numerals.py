"""Chinese numerals, formal ones too, and Ethiopic numerals."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilift.evaluate.answers.extraction import extract_number
from lilift.evaluate.answers.number_formats import find_numbers
from lilift.evaluate.answers.numerals import numerals

FORMAL = "零壹貳叁肆伍陸柒捌玖", ("", "拾", "佰", "仟"), ("", "萬", "億")
SIMPLIFIED = "零壹贰叁肆伍陆柒捌玖", ("", "拾", "佰", "仟"), ("", "万", "亿")
ORDINARY = "零一二三四五六七八九", ("", "十", "百", "千"), ("", "万", "亿")
JAPANESE = "〇壱弐参四五六七八九", ("", "拾", "百", "千"), ("", "萬", "億")


def in_chinese(number: int, style: tuple[str, tuple[str, ...], tuple[str, ...]]) -> str:
    """A positive number in Chinese numerals, with a zero for each gap, as on a cheque."""
    digits, small, large = style
    written, gap = "", False
    figures = str(number)
    for place, figure in zip(range(len(figures) - 1, -1, -1), figures, strict=True):
        if figure == "0":
            gap = True
        else:
            written += (digits[0] if gap and written else "") + digits[int(figure)] + small[place % 4]
            gap = False
        if place % 4 == 0 and place and int(figures[max(0, len(figures) - place - 4) : len(figures) - place]):
            written += large[place // 4]
    return written


def in_ethiopic(number: int) -> str:
    """A positive number in Ethiopic numerals, by the algorithm of CSS Counter Styles."""
    figures = str(number).zfill(len(str(number)) + len(str(number)) % 2)
    pairs = [int(figures[place : place + 2]) for place in range(0, len(figures), 2)]
    written = ""
    for place, pair in zip(range(len(pairs) - 1, -1, -1), pairs, strict=True):
        first = place == len(pairs) - 1
        bare = pair == 0 or (pair == 1 and ((first and place > 0) or place % 2 == 1))
        written += "" if bare else " ፲፳፴፵፶፷፸፹፺"[pair // 10].strip() + " ፩፪፫፬፭፮፯፰፱"[pair % 10].strip()
        written += ("፻" if pair else "") if place % 2 else "፼" if place else ""
    return written


@pytest.mark.parametrize(
    ("text", "language", "value"),
    [
        ("፲፪", "am", 12),
        ("፻፳፫", "am", 123),
        ("፩፻፳፫", "ti", 123),
        ("፼", "am", 10_000),
        ("፼፼", "am", 100_000_000),
        ("፸፰፻፩፼፺፪", "am", 78_010_092),
        ("መልሱ ፲፪ ነው።", "am", 12),
        ("the answer is ፲፪", "en", 12),
        ("= -፲፪", "am", -12),
        ("叁佰捌拾柒", "zh", 387),
        ("贰拾", "zh", 20),
        ("壹萬貳仟叁佰", "yue", 12_300),
        ("合计人民币壹佰零伍元整", "zh", 105),
        ("伍元", "zh", 5),
        ("參仟", "zh", 3000),
        ("廿五", "zh", 25),
        ("卅六", "zh", 36),
        ("百廿", "zh", 120),
        ("两百", "zh", 200),
        ("二〇二四", "zh", 2024),
        ("壱万弐千参百円", "ja", 12_300),
        ("拾万円", "ja", 100_000),
    ],
)
def test_numerals_are_read(text: str, language: str, value: int) -> None:
    assert extract_number(text, language) == value


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("参加者は", "ja"),
        ("ゴミを拾いました", "ja"),
        ("陸の上", "ja"),
        ("大陆", "zh"),
        ("支队伍参加", "zh"),
        ("收拾", "zh"),
        ("፩፲", "am"),  # a unit before a ten is no number
    ],
)
def test_ordinary_words_with_numeral_characters_are_not_numbers(text: str, language: str) -> None:
    assert list(numerals(text, language)) == []
    assert extract_number(text, language) is None


def test_numerals_beside_digits_do_not_hide_them() -> None:
    assert [number.value for number in find_numbers("፲፪ + 3 = ፲፭", "am")] == [Decimal(12), Decimal(3), Decimal(15)]
    assert extract_number("廿五 + 3 = 28", "zh") == 28


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 10**12 - 1))
def test_every_number_comes_back_from_ethiopic_numerals(number: int) -> None:
    assert extract_number(in_ethiopic(number), "am") == number


@settings(max_examples=150, deadline=None)
@given(st.integers(10, 10**12 - 1), st.sampled_from([(FORMAL, "zh"), (SIMPLIFIED, "zh"), (ORDINARY, "zh"), (JAPANESE, "ja")]))
def test_every_number_comes_back_from_chinese_numerals(number: int, style: tuple[tuple[str, ...], str]) -> None:
    assert extract_number(in_chinese(number, style[0]), style[1]) == number
