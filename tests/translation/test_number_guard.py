"""Numbers are compared by value, each text by its language's custom."""

from __future__ import annotations

from decimal import Decimal

import pytest

from lilift.translation.number_guard import lost_numbers


@pytest.mark.parametrize(
    ("source", "source_language", "translation", "target_language"),
    [
        ("Mary has 3 apples and 12 pears.", "en", "Mary ana mapera 3 na mapea 12.", "sw"),
        ("১,২৩৪ টি আপেল", "bn", "1,234 apples", "en"),
        ("٣٫٥ كيلو و ١٢٬٣٤٥", "ar", "3.5 kilos and 12,345", "en"),
        ("1.234 manzanas y 2,5 kg", "es", "1,234 apples and 2.5 kg", "en"),
        ("1,234 apples", "en", "1.234 manzanas", "es"),
        ("Ana mapera 3 na ndizi 25.", "sw", "She has three apples and twenty-five bananas.", "en"),
        ("watu milioni 5", "sw", "5 million people", "en"),
        ("dola 7 na senti 50", "sw", "7 dollars and 50 cents", "en"),
        ("7 dollars and 50 cents", "en", "dola 7 na senti 50", "sw"),
        ("三百八十七个苹果", "zh", "387 apples", "en"),
        ("no number at all", "en", "hakuna", "sw"),
        ("2 1/2 cups", "en", "vikombe 2 1/2", "sw"),
        ("Chukua 1/2 ya 8.", "sw", "Take half of 8.", "en"),
        ("-5 degrees", "en", "nyuzi −5", "sw"),
        ("1日に16個", "ja", "16 a day", "en"),
        ("其中三分之二是水", "zh", "two-thirds of it is water", "en"),
        ("3分の1と12個", "ja", "a third and a dozen", "en"),
        ("50 చెట్లతో ప్రారంభించాడు.10 సంవత్సరాల", "te", "50 trees. After 10 years", "en"),  # no blank after the full stop
    ],
)
def test_kept(source: str, source_language: str, translation: str, target_language: str) -> None:
    assert lost_numbers(source, source_language, translation, target_language) == []


@pytest.mark.parametrize(
    ("source", "source_language", "translation", "target_language", "lost"),
    [
        ("Mary has 3 apples and 12 pears.", "en", "Mary ana mapera 3 na mapea 21.", "sw", ["12"]),
        ("3 boys and 3 girls", "en", "wavulana 3 na wasichana", "sw", ["3"]),  # one of two
        ("1.234 manzanas", "es", "1.234 apples", "en", ["1234"]),  # copied, and now another number
        ("1,050 apples", "en", "1,050 manzanas", "es", ["1050"]),
        ("watu milioni 5", "sw", "people", "en", ["5000000"]),
        ("Ana 3.5.", "sw", "She has 35.", "en", ["3.5"]),
    ],
)
def test_lost(source: str, source_language: str, translation: str, target_language: str, lost: list[str]) -> None:
    assert lost_numbers(source, source_language, translation, target_language) == [Decimal(number) for number in lost]
