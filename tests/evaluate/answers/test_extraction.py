"""Reading the final number: a table of responses, and numbers that come back from every format they are written in."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilift.data.languages import languages
from lilift.evaluate.answers.extraction import correct, extract_number
from lilift.evaluate.benchmarks.benchmark import load_benchmark
from lilift.recipe.schema import BenchmarkSettings

NBSP, NARROW = "\u00a0", "\u202f"
GOLDEN = [json.loads(line) for line in (Path(__file__).parent / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
KINDS = sorted({case["kind"] for case in GOLDEN})


@pytest.mark.parametrize("kind", KINDS)
def test_reads_the_final_number(kind: str) -> None:
    wrong = [
        (case["language"], case["response"], case["number"], number)
        for case in GOLDEN
        if case["kind"] == kind
        and (number := extract_number(case["response"], case["language"]))
        != (None if case["number"] is None else Decimal(case["number"]))
    ]
    assert not wrong


def test_the_golden_file_is_large_and_has_cases_of_every_kind_in_every_language_of_mmwp() -> None:
    cases = {(case["language"], case["response"]) for case in GOLDEN}
    assert len(cases) == len(GOLDEN) >= 1000
    mmwp = {code for code, language in languages().items() if language.tier}
    kinds = (
        "thousands",
        "decimals",
        "announced",
        "missing",
        "announced in a sentence",
        "run-on",
        "repeated question",
        "heading",
    )
    for kind in kinds:
        assert mmwp <= {case["language"] for case in GOLDEN if case["kind"] == kind}, kind


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
INDIAN = "1,00,000"  # stands for groups of two above the thousands
GROUPS = {
    ".": "de es it pt nl da ro mk sr ca eu id vi is lb",
    ",": "en hi bn th zh ja ko sw gu kn ta te ha mr ne ml ar",
    " ": "fr sv cs sk af pl hu bg uk ru be nb fi hy",
    NBSP: "fr sv cs sk af pl hu bg uk ru be hr sl nb fi hy",
    NARROW: "fr sv cs sk af",
    INDIAN: "en hi bn ne mr gu kn ta te ml",
    "٬": "ar",
    "": "en pl hu bg uk ru be hr sl nb fi ar hy ml ne zh ja ko",
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
    "zh": "０",
}
FORMATS = [(language, group) for group, languages in GROUPS.items() for language in languages.split()]


def indian(digits: str) -> str:
    """1234567 as 12,34,567."""
    head, tail = digits[:-3], digits[-3:]
    pairs = [head[max(0, end - 2) : end] for end in range(len(head), 0, -2)][::-1]
    return ",".join([*pairs, tail])


def render(number: Decimal, language: str, group: str, *, native: bool) -> str:
    """A number as it is written in a language."""
    whole, _, tail = f"{abs(number):,f}".partition(".")
    if group == INDIAN:
        whole, group = indian(whole.replace(",", "")), ","
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


def test_every_gold_comes_back_from_every_format(shared_data: Path) -> None:
    golds = set()
    for name in ("mmwp", "mgsm", "msvamp"):
        chosen = BenchmarkSettings.model_validate({"name": name, "path": str(shared_data / name)})
        golds |= {Decimal(question.gold) for question in load_benchmark(chosen, "en").questions}
    assert len(golds) > 300
    for language, group in FORMATS:
        for native in {False, language in ZEROS or language == "ar"}:
            for gold in golds:
                text = f"3 + 4 = 7: {render(gold, language, group, native=native)}"
                assert correct(extract_number(text, language), gold), (text, language)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200), st.sampled_from(["en", "de", "fr", "bn", "ar", "xx"]))
def test_any_text_is_read_without_an_error(text: str, language: str) -> None:
    number = extract_number(text, language)
    assert number is None or number.is_finite()


PIECES = [
    *("1", "1,", "1 000 ", "$1 ", "\\frac{", "\\frac{1}{2}", "\\sqrt{1+", "(1+", "(", "2^2^", "1/", "2**", "1 1/2 ", "√", "1√"),
    *(
        "answer is ",
        "Answer:\n",
        "Question 1: ",
        "Question: ",
        "A: ",
        "Q: 1 A: ",
        "### ",
        "####\n",
        "#### 1\n",
        "\n\n",
        "?\n\n",
    ),
    *(
        "\\boxed{",
        "\\boxed{x = ",
        "<|a|>",
        "[INST]",
        "<<1>>",
        "elfu 3 ",
        "3 million ",
        "答案是",
        "答え：",
        "千",
        "π",
        "minus ",
        "- ",
    ),
    *("let me know ", "(2 steps) ", "5 सय 4 ", "उत्तर ", "x = ", "the answer, ", "e9", "1k ", "~1", "is the answer ", "\\text{"),
]


def test_long_responses_are_read_in_a_time_that_grows_with_their_length_alone() -> None:
    slow = {}
    for piece in PIECES:
        for language in ("en", "zh"):
            before = time.process_time()
            extract_number((piece * (10_000 // len(piece)))[:10_000], language)
            seconds = time.process_time() - before
            if seconds > 2:  # quadratic work takes far longer, on any machine
                slow[piece, language] = seconds
    assert not slow


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([*PIECES, " ", "\n", "7", "-", "18", "}", ")", ".", "</s>", "User:"]), max_size=40),
    st.sampled_from(["en", "sw", "zh"]),
)
def test_any_mixture_of_marks_is_read_without_an_error(pieces: list[str], language: str) -> None:
    number = extract_number("".join(pieces), language)
    assert number is None or number.is_finite()
