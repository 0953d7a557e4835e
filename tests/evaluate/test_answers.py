"""Reading the final number: a table of responses, and numbers that come back from every format they are written in."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilift.evaluate.answers import correct, extract_number
from lilift.evaluate.benchmarks import load_benchmark
from lilift.recipe.schema import BenchmarkSettings

NBSP, NARROW, THIN, ZERO_WIDTH = "\u00a0", "\u202f", "\u2009", "\u200b"

# response, language, number (None: missing)
CASES: list[tuple[str, str, str | None]] = [
    # the last number
    ("18", "en", "18"),
    ("She sells 9 eggs for 2 dollars each, so she makes 18 dollars.", "en", "18"),
    ("12 + 5 = 17", "en", "17"),
    ("There are 3 red and 4 blue balls: 7.", "en", "7"),
    ("0", "en", "0"),
    ("He has none left: 0 apples.", "en", "0"),
    ("007", "en", "7"),
    ("It costs $18.", "en", "18"),
    ("It costs 18$", "en", "18"),
    ("It costs €1,050.50 in all", "en", "1050.5"),
    ("Rs.500", "en", "500"),
    ("R500", "af", "500"),
    ("a total of 18kg", "en", "18"),
    ("25%", "en", "25"),
    ("25 %", "de", "25"),
    ("12.5 percent", "en", "12.5"),
    ("**42**", "en", "42"),
    ("`42`", "en", "42"),
    ("a=1,b=2", "en", "2"),
    ("1,2,3", "en", "3"),
    ("3, 5", "de", "5"),
    ("on 12.05.2024", "de", "2024"),
    (".5", "en", "0.5"),
    ("It is .75 of it", "en", "0.75"),
    ("She walked 5.Then she slept", "en", "5"),
    # missing is missing
    ("", "en", None),
    ("   \n", "en", None),
    ("I do not know.", "en", None),
    ("No answer, sorry…", "de", None),
    ("Siku njema", "sw", None),
    ("- . , / % $", "en", None),
    ("The area is in m2", "en", None),
    ("#### ", "en", None),
    ("\\boxed{}", "en", None),
    # announced answers
    ("#### 18", "en", "18"),
    ("5 + 13 = 18\n#### 18\n", "en", "18"),
    ("#### 18\n\nCheck: 5 + 3 = 8", "en", "18"),
    ("#### -5", "en", "-5"),
    ("#### 2,125", "en", "2125"),
    ("#### Step 2\nNow 4 + 4 = 8", "en", "8"),
    ("The answer is 18. We used 5 and 13.", "en", "18"),
    ("The answer is: 18", "en", "18"),
    ("The answer is $18, not 20.", "en", "18"),
    ("The final answer is **18** (of 20).", "en", "18"),
    ("The answer is 0. There were 7.", "en", "0"),
    ("The answer is\n\n18\n\nof 20", "en", "18"),
    ("The answer is 5. Wait, no. The answer is 6. I checked 3 times", "en", "6"),
    ("The answer is 10 + 8 = 18. It was 7 before.", "en", "18"),
    ("The answer is 12 apples + 6 apples = 18 apples, from 2 trees", "en", "18"),
    ("The answer is 7 because 3 + 4 = 7 and 2 + 2 = 4", "en", "7"),
    ("The answer is 18 eggs, 3 a day", "en", "18"),
    ("the answer is unknown. I counted 4 of them", "en", "4"),
    ("First 5, then 6. The answer is", "en", "6"),
    ("Answer: 18 of 20", "en", "18"),
    ("**Answer:** $18 (of 20)", "en", "18"),
    ("Answer: Janet has 16 eggs, sells 9 and makes 18", "en", "18"),
    ("so \\boxed{18} of 20", "en", "18"),
    ("so $\\boxed{-\\frac{3}{4}}$ of 20", "en", "-0.75"),
    ("\\boxed{1{,}050}", "en", "1050"),
    ("\\boxed{\\text{18 apples}} of 20", "en", "18"),
    ("\\boxed{x = 5} or 7", "en", "5"),
    ("\\boxed{\\$18.50} and 3", "en", "18.5"),
    ("\\boxed{25\\%} of 80", "en", "25"),
    ("\\boxed{12\\,500} of 3", "en", "12500"),
    ("Die Antwort ist 11. Das sind 3 mehr.", "de", "11"),
    ("La réponse est 11. Il en avait 3.", "fr", "11"),
    ("La respuesta es 11. Tenía 3.", "es", "11"),
    ("Ответ — 11. Было 3.", "ru", "11"),
    ("答案是 11。还有 3 个", "zh", "11"),
    ("答案：11，还有 3 个", "zh", "11"),
    ("答えは11です。3個", "ja", "11"),
    ("คำตอบคือ 11 จาก 3", "th", "11"),
    ("Jibu ni 11. Alikuwa na 3.", "sw", "11"),
    ("উত্তর হল ১১। ৩ টি", "bn", "11"),
    ("సమాధానం 11. 3 కాదు", "te", "11"),
    ("उत्तर: ११, ३ नहीं", "hi", "11"),
    ("5 + 3 = <<5+3=8>>8 eggs", "en", "8"),
    ("8 eggs <<5+3=8>>", "en", "8"),
    # signs
    ("-5", "en", "-5"),
    ("−5", "en", "-5"),
    ("－５", "ja", "-5"),
    ("It is –5 degrees", "en", "-5"),
    ("x = -5", "en", "-5"),
    ("x = - 5", "en", "-5"),
    ("(-5)", "en", "-5"),
    ("-$5", "en", "-5"),
    ("$-5", "en", "-5"),
    ("-1,050.5", "en", "-1050.5"),
    ("-3/4", "en", "-0.75"),
    ("minus 5 degrees", "en", "-5"),
    ("The answer is negative 5", "en", "-5"),
    ("10 minus 3", "en", "3"),
    ("10-3", "en", "3"),
    ("10 - 3", "en", "3"),
    ("10 -3", "en", "3"),
    ("between 3–5", "en", "5"),
    ("COVID-19", "en", "19"),
    ("apples:\n- 5 red", "en", "5"),
    ("(4+1)-2", "en", "2"),
    # decimals and thousands, by language
    ("1,050", "en", "1050"),
    ("1.050", "en", "1.05"),
    ("3,5", "en", "3.5"),
    ("1,234,567", "en", "1234567"),
    ("1,234.5", "en", "1234.5"),
    ("114,200", "sw", "114200"),
    ("1,050", "th", "1050"),
    ("0,125", "en", "0.125"),
    ("1234,567", "en", "1234.567"),
    ("12,50,000", "hi", "1250000"),
    ("1.050", "de", "1050"),
    ("1,050", "de", "1.05"),
    ("0,7", "de", "0.7"),
    ("3,5", "de", "3.5"),
    ("3.5", "de", "3.5"),
    ("3,33333", "de", "3.33333"),
    ("3.33333", "de", "3.33333"),
    ("1.050,75", "it", "1050.75"),
    ("1,050.75", "it", "1050.75"),
    ("1.234.567", "vi", "1234567"),
    ("1'050", "de", "1050"),
    ("80 000", "fr", "80000"),
    ("1 050,5", "fr", "1050.5"),
    (f"1{NBSP}050", "sv", "1050"),
    (f"1{NARROW}050", "fr", "1050"),
    (f"1{THIN}234{THIN}567", "en", "1234567"),
    ("80 000", "en", "80000"),
    ("7 bags 3 250 g", "en", "250"),
    ("3 250", "cs", "3250"),
    ("12 345 678,9", "sk", "12345678.9"),
    ("1050", "pl", "1050"),
    # the text's own evidence wins over the language's custom
    ("The price is 1,050 and the rest is 3.", "de", "3"),
    ("They pay the price, 1,050", "de", "1050"),
    ("They pay the price, 1.050", "de", "1.05"),
    ("2.5 + 1,050", "de", "1050"),
    ("2,5 + 1.050", "en", "1050"),
    ("Maria are 3,5 mere si 1.050", "ro", "1050"),
    # native digits
    ("১০৫০", "bn", "1050"),
    ("০.৭", "bn", "0.7"),
    ("৭১,২২৬১", "bn", "712261"),
    ("৭1২", "bn", "712"),
    ("১,০৫,০০০", "bn", "105000"),
    ("१,०५०", "ne", "1050"),
    ("०.७", "mr", "0.7"),
    ("١٬٠٥٠٫٥", "ar", "1050.5"),
    ("٠٫٧", "ar", "0.7"),
    ("-٥", "ar", "-5"),
    ("۱۲", "fa", "12"),
    ("٢٥٪", "ar", "25"),
    ("๑,๐๕๐", "th", "1050"),
    ("૧૨.૫", "gu", "12.5"),
    ("೧೨", "kn", "12"),
    ("౧౨", "te", "12"),
    ("௧௨", "ta", "12"),
    ("൧൨", "ml", "12"),
    ("១២", "km", "12"),
    ("３．５", "ja", "3.5"),
    ("１，０５０円", "ja", "1050"),
    ("16টি ডিম", "bn", "16"),
    ("১৮৷", "bn", "18"),
    # fractions, magnitudes, powers
    ("3/4", "en", "0.75"),
    ("3 / 4", "en", "0.75"),
    ("1 3/4", "en", "1.75"),
    ("½", "en", "0.5"),
    ("1½", "en", "1.5"),
    ("2 ¾ cups", "en", "2.75"),
    ("\\frac{3}{4}", "en", "0.75"),
    ("\\dfrac34", "en", "0.75"),
    ("1\\frac{1}{2}", "en", "1.5"),
    ("3⁄4", "en", "0.75"),
    ("12/05/2024", "en", "2024"),
    ("12 / 4 = 3", "en", "3"),
    ("2 million", "en", "2000000"),
    ("1.5 thousand", "en", "1500"),
    ("7万", "zh", "70000"),
    ("3만원", "ko", "30000"),
    ("3 × 10^4", "en", "30000"),
    ("1.5e3", "en", "1500"),
    # invisible characters and units
    (f"5{ZERO_WIDTH}0", "th", "50"),
    (f"1{ZERO_WIDTH},050{ZERO_WIDTH}.", "hi", "1050"),
    ("12\u200cలు", "te", "12"),
    ("\ufeff12", "en", "12"),
    ("50 m2", "en", "50"),
    ("50 m^2", "en", "50"),
    ("50 m²", "en", "50"),
    ("32 см2", "ru", "32"),
    ("$ 2,584", "bg", "2584"),
    ("$2.584", "de", "2584"),
    ("2.584 €", "en", "2584"),
    ("$2.58", "de", "2.58"),
    ("8 cm3 of H2O", "en", "8"),
]


@pytest.mark.parametrize(("response", "language", "expected"), CASES)
def test_reads_the_final_number(response: str, language: str, expected: str | None) -> None:
    number = extract_number(response, language)
    assert number == (None if expected is None else Decimal(expected))


def test_the_table_is_large_and_its_cases_are_distinct() -> None:
    assert len(set(CASES)) == len(CASES) >= 150


def test_no_number_is_never_right_even_where_the_gold_is_zero() -> None:
    assert not correct(extract_number("I do not know", "en"), Decimal(0))
    assert correct(extract_number("0", "en"), Decimal(0))


@pytest.mark.parametrize(
    ("number", "gold", "right"),
    [
        ("3.3333", "3.33333", True),
        ("3.33", "3.33333", False),
        ("-5", "5", False),
        ("18.0009", "18", True),
        ("18.001", "18", False),
    ],
)
def test_right_means_nearer_than_a_thousandth(number: str, gold: str, right: bool) -> None:
    assert correct(Decimal(number), Decimal(gold)) is right


COMMA_DECIMAL = """
    de es it pt nl da ro mk sr ca eu id vi is lb fr sv cs sk af pl hu bg uk ru be hr sl nb fi hy
"""
GROUPS = {
    ".": "de es it pt nl da ro mk sr ca eu id vi is lb",
    ",": "en hi bn th zh ja ko sw gu kn ta te ha",
    " ": "fr sv cs sk af",
    NBSP: "fr sv cs sk af pl hu bg uk ru be hr sl nb fi hy",
    NARROW: "fr",
    "": "pl hu bg uk ru be hr sl nb fi ar hy ml ne",
}
ZEROS = {
    "bn": "০",
    "hi": "०",
    "ne": "०",
    "mr": "०",
    "th": "๐",
    "gu": "૦",
    "kn": "೦",
    "te": "౦",
    "ta": "௦",
    "ml": "൦",
    "ja": "０",
}
FORMATS = [(language, group) for group, languages in GROUPS.items() for language in languages.split()]


def render(number: Decimal, language: str, group: str, *, native: bool) -> str:
    """A number as it is written in a language."""
    whole, _, tail = f"{abs(number):,f}".partition(".")
    mark = "," if language in COMMA_DECIMAL.split() else "."
    text = ("-" if number < 0 else "") + whole.replace(",", group) + (mark + tail if tail else "")
    if language == "ar" and native:
        return text.translate({ord("0") + n: chr(ord("٠") + n) for n in range(10)} | {ord("."): "٫"})
    zero = ord(ZEROS[language]) if native and language in ZEROS else ord("0")
    return text.translate({ord("0") + n: chr(zero + n) for n in range(10)})


@settings(max_examples=400, deadline=None)
@given(
    st.decimals(min_value=-(10**9), max_value=10**9, places=2) | st.integers(-(10**9), 10**9).map(Decimal),
    st.sampled_from(FORMATS),
    st.booleans(),
    st.sampled_from(["{}", "= {}.", "#### {}", "\\boxed{{{}}}", "\n{}\n", "3 + 4 … {}"]),
)
def test_a_number_comes_back_from_every_format_of_its_language(
    number: Decimal, format_: tuple[str, str], native: bool, frame: str
) -> None:
    language, group = format_
    assert extract_number(frame.format(render(number, language, group, native=native)), language) == number


@pytest.mark.parametrize(("name", "path"), [("mmwp", "mmwp"), ("mgsm", "mgsm")])
def test_every_gold_comes_back_from_every_format(shared_data: Path, name: str, path: str) -> None:
    chosen = BenchmarkSettings.model_validate({"name": name, "path": str(shared_data / path)})
    golds = {question.gold for question in load_benchmark(chosen, "en").questions}
    assert len(golds) > 100
    for language, group in FORMATS:
        for gold in golds:
            for native in (False, True):
                text = f"3 + 4 = 7: {render(gold, language, group, native=native)}"
                assert correct(extract_number(text, language), gold), (text, language)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200), st.sampled_from(["en", "de", "fr", "bn", "ar", "xx"]))
def test_any_text_is_read_without_an_error(text: str, language: str) -> None:
    number = extract_number(text, language)
    assert number is None or number.is_finite()
