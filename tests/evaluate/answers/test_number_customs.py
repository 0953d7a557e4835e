"""Every language's own number format is read: from the committed table, and as Babel writes it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version

import pytest

from benchmarks.evaluation import number_customs as measured
from benchmarks.evaluation.number_customs_table import OVERRIDES, TABLE, own_locale, rows
from lilift.data.languages import languages
from lilift.evaluate.answers.extraction import extract_number
from lilift.evaluate.answers.number_customs import NumberCustom, number_custom, number_customs
from lilift.evaluate.answers.number_formats import find_numbers


def made_with() -> str:
    """The version of Babel that the committed table is from."""
    return TABLE.read_text(encoding="utf-8").partition("Babel ")[2].partition(" ")[0]


@pytest.fixture
def babel() -> None:
    try:
        installed = version("babel")
    except PackageNotFoundError:
        installed = "none"
    if installed != made_with():
        pytest.skip(f"the table is from Babel {made_with()}, installed is {installed}; `pip install babel=={made_with()}`")


def grouped(digits: str, mark: str, indian: bool) -> str:
    """Digits in groups: the last of three, those before it of three or, in the Indian way, of two."""
    head, tail = digits[:-3], digits[-3:]
    size = 2 if indian else 3
    parts = [head[max(0, end - size) : end] for end in range(len(head), 0, -size)][::-1]
    return mark.join([*parts, tail])


def renderings(value: Decimal, custom: NumberCustom) -> Iterator[str]:
    """A number in every form of a custom: with each of its group marks, without groups, in ASCII and in its own digits."""
    whole, _, tail = f"{abs(value):f}".partition(".")
    sign = custom.minus if value < 0 else ""
    for mark in ("", *custom.groups):
        yield sign + grouped(whole, mark, custom.indian) + (custom.decimal + tail if tail else "")
    if custom.digits:
        text = sign + grouped(whole, custom.native_group, custom.indian) + (custom.native_decimal + tail if tail else "")
        yield text.translate({ord("0") + digit: character for digit, character in enumerate(custom.digits)})


@pytest.mark.usefixtures("babel")
def test_the_table_is_what_babel_gives() -> None:
    assert "".join(f"{row}\n" for row in rows()) == TABLE.read_text(encoding="utf-8")


def test_the_table_has_languages_of_lilift_alone_and_overrides_have_a_reason() -> None:
    assert set(number_customs()) - {"default"} <= set(languages())
    assert set(languages()) - set(number_customs()) == {"ber", "ber-Latn", "cpf"}  # of no one territory
    assert all(code in number_customs() and change.reason for code, change in OVERRIDES.items())


def test_numbers_come_back_from_every_language_s_own_format() -> None:
    values = [Decimal(value) for value in ("0", "1050", "80000", "1234567", "0.125", "12.345", "1050.5", "-1050", "-0.7")]
    wrong = [
        (code, text)
        for code, custom in number_customs().items()
        for value in values
        for text in renderings(value, custom)
        if extract_number(text, code) != value
    ]
    assert not wrong


@pytest.mark.usefixtures("babel")
def test_a_sample_of_what_babel_writes_comes_back() -> None:
    codes = [code for code in languages() if own_locale(code) is not None]
    assert len(codes) == 212
    sample = [*codes[::12], "ks", "fa", "dz", "mni-Mtei"]
    wrong = [
        (code, text) for code in sample for value, text in measured.written(code) if not measured.is_read(text, code, value)
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("text", "language", "value"),
    [
        ("Igisubizo ni 1.050", "rw", "1050"),
        ("Tontu bi mooy 1.050", "wo", "1050"),
        ("Җавап: 12,345", "tt", "12.345"),
        ("Jawabané 1.050", "jv", "1050"),
        ("Wangsulanipun 1.050", "ban", "1050"),  # Balinese, as in Indonesia
        ("La respuesta es 23 786", "es", "23786"),
        ("Igisubizo ni 3.5", "rw", "3.5"),
        ("1.050", "ber", "1.050"),
        ("1.050", "pt-BR", "1050"),
    ],
)
def test_ambiguous_numbers_follow_the_language(text: str, language: str, value: str) -> None:
    assert extract_number(text, language) == Decimal(value)


def test_an_english_text_keeps_english_numbers_in_every_language() -> None:
    assert [number.value for number in find_numbers("There are 1,050 apples and the answer is 1.050", "rw")] == [
        Decimal("1050"),
        Decimal("1.050"),
    ]


def test_the_table_is_read_once() -> None:
    number_custom("rw")
    parsed = number_customs.cache_info().misses
    for code in languages():
        number_custom(code)
    assert number_customs.cache_info().misses == parsed <= 1
