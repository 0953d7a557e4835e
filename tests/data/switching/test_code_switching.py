"""Code-switching: only words are swapped, as often as asked, the same on every run, and nothing else is touched."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lilift.data.languages import language
from lilift.data.lexicons.dictionary_files import Pair
from lilift.data.lexicons.english_forms import PROTECTED, dictionary_forms, find_names, is_name, words
from lilift.data.lexicons.lexicon import Lexicon, build_lexicon
from lilift.data.lexicons.lexicon_folder import load_lexicon
from lilift.data.switching.code_switching import CodeSwitched, CodeSwitcher
from lilift.recipe.errors import DataError
from lilift.recipe.schema import CodeSwitchingSettings


def lexicon(code: str = "sw", **pairs: str) -> Lexicon:
    return build_lexicon([Pair(english, translation) for english, translation in pairs.items()], language(code), "test")


SWAHILI = lexicon(
    dog="mbwa",
    cat="paka",
    buy="nunua",
    apple="tofaa",
    the="hiyo",
    rose="waridi",
    many="ngapi",
    km="kilomita",
    i="mimi",
    a="moja",
)
HINDI = lexicon("hi", dog="कुत्ता", cat="बिल्ली", book="किताब", good="अच्छा")


CHINESE = lexicon("zh", dog="狗", cat="猫", buy="买", apple="苹 果", the="这")
THAI = lexicon("th", dog="สุนัข", cat="แมว", buy="ซื้อ", many="มาก")


def switcher(
    *lexicons: Lexicon, ratio: float = 1.0, shuffle: float = 0.0, mixed: float = 0.0, seed: int = 0, **more: frozenset[str]
) -> CodeSwitcher:
    settings = CodeSwitchingSettings(ratios=(ratio,), shuffle=shuffle, mixed=mixed)
    return CodeSwitcher({found.language.code: found for found in lexicons or (SWAHILI,)}, settings, seed=seed, **more)


def switched(text: str, *lexicons: Lexicon, **settings: float) -> str:
    return switcher(*lexicons, **settings).switch(text, epoch=0, index=0).text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The dog, the CAT and 'dogs'!", "Hiyo mbwa, hiyo CAT and 'mbwa'!"),
        ("Apples bought? Dog's apple.", "Tofaa nunua? Mbwa tofaa."),
        ("I and a cat", "mimi and moja paka"),
        ("She met Rose and a rose. Rose buys many.", "She met Rose and moja waridi. Waridi nunua ngapi."),
        ("5 km or many km, dog2 $the^2$ `the dog` {dog}", "5 km or ngapi kilomita, dog2 $the^2$ `the dog` {dog}"),
        ("A dog-cat\n\n  the\tdog ", "Moja mbwa-paka\n\n  hiyo\tmbwa "),
        ("", ""),
    ],
)
def test_case_and_punctuation_stay_and_inflected_words_are_found(text: str, expected: str) -> None:
    assert switched(text) == expected


@pytest.mark.parametrize(
    ("lexicon", "text", "expected"),
    [
        (CHINESE, "The dog bought apples, 3 apples.", "这狗买苹果, 3 苹果."),
        (CHINESE, "dog  cat\ndog xyz cat $5 dog", "狗猫\n狗 xyz 猫 $5 狗"),
        (CHINESE, "The dogs' cat-dog. The cat", "这狗' 猫-狗. 这猫"),
        (THAI, "many dogs bought 2 cats", "มากสุนัขซื้อ 2 แมว"),
        (SWAHILI, "many dogs bought 2 cats", "ngapi mbwa nunua 2 paka"),
    ],
)
def test_scripts_without_spaces_are_written_without_them(lexicon: Lexicon, text: str, expected: str) -> None:
    assert switched(text, lexicon) == expected


def test_known_names_stay_at_the_beginning_of_a_sentence_too() -> None:
    found = switcher(names=frozenset(["rose"])).switch("Rose buys the dog.", epoch=0, index=0)
    assert found.text == "Rose nunua hiyo mbwa."
    assert found.translatable == 3


def test_marks_that_combine_stay_with_their_letter() -> None:
    text = switched("Dog book cat good", HINDI)
    assert text == "कुत्ता किताब बिल्ली अच्छा"
    assert unicodedata.normalize("NFC", text) == text


_words = st.sampled_from(["the", "dog", "cats", "apple", "bought", "Tom", "many", "xyz", "Rose"])
_fixed = st.sampled_from(
    [
        "12",
        "1,050",
        "3/4",
        "$5",
        "20%",
        "5 km",
        "12:30",
        r"\frac{a}{b}",
        "$x^2$",
        "`the dog`",
        "https://dog.org/cat",
        "<<4*2=8>>",
    ]
)
_stops = st.sampled_from([" ", ". ", ", ", "\n", "! ", " - ", ": "])
_texts = st.lists(st.tuples(st.one_of(_words, _fixed), _stops), max_size=30).map(lambda parts: "".join(map("".join, parts)))


def protected(text: str) -> list[str]:
    return [match[0] for match in PROTECTED.finditer(text)]


@given(_texts, st.integers(0, 5), st.sampled_from([0.0, 0.5, 1.0]))
def test_numbers_and_protected_spans_survive(text: str, seed: int, shuffle: float) -> None:
    found = switcher(ratio=0.7, shuffle=shuffle, seed=seed).switch(text, epoch=0, index=0)
    assert Counter(re.findall(r"\d+", found.text)) == Counter(re.findall(r"\d+", text))
    if shuffle == 0.0:
        assert protected(found.text) == protected(text)
    else:
        for span in protected(text):
            assert span in found.text


def undone(found: CodeSwitched) -> str:
    """The text with every swap taken back."""
    original, copied = "", 0
    for swap in found.swaps:
        original += found.text[copied : swap.start] + swap.gap + swap.original
        copied = swap.end
    return original + found.text[copied:]


_mixed = st.sampled_from([0.0, 0.5, 1.0])


@given(_texts, st.integers(0, 5), _mixed)
def test_swaps_tell_where_they_are_and_undo_to_the_original(text: str, seed: int, mixed: float) -> None:
    found = switcher(SWAHILI, CHINESE, THAI, ratio=0.6, mixed=mixed, seed=seed).switch(text, epoch=0, index=0)
    assert undone(found) == text
    assert len(found.swaps) <= found.translatable
    assert re.findall(r"\d+", found.text) == re.findall(r"\d+", text)


@given(_texts)
def test_the_words_are_those_of_english_forms(text: str) -> None:
    expected = [
        word.text
        for word in words(text)
        if SWAHILI.first_of(dictionary_forms(word.text.lower())) and not is_name(word, frozenset({"rose"}))
    ]
    found = switcher(names=frozenset({"rose"})).switch(text, epoch=0, index=0)
    assert [swap.original for swap in found.swaps] == expected


@given(_texts, st.integers(0, 5), _mixed)
def test_every_word_swapped_in_is_one_of_its_own_language(text: str, seed: int, mixed: float) -> None:
    lexicons = {found.language.code: found for found in (SWAHILI, HINDI, CHINESE, THAI)}
    found = switcher(*lexicons.values(), ratio=0.9, mixed=mixed, seed=seed).switch(text, epoch=0, index=0)
    for swap in found.swaps:
        assert swap.language == (found.language or swap.language)
        assert language(swap.language).writes(found.text[swap.start : swap.end])
        texts = [entry.text for entry in lexicons[swap.language].find(swap.original.lower())]
        assert found.text[swap.start : swap.end].lower() in [text.replace(" ", "") for text in texts]


def test_mixed_texts_take_every_words_language_by_itself() -> None:
    both = lexicon("hi", dog="कुत्ता", cat="बिल्ली")
    found = switcher(SWAHILI, both, mixed=1.0)
    texts = [found.switch("dog cat dog many", epoch=0, index=index) for index in range(400)]
    assert all(one.language is None for one in texts)
    # One translation a word within a text; `many` is in one lexicon alone, and is swapped none the less.
    assert all(one.text.split()[0] == one.text.split()[2] for one in texts)
    assert all(one.swaps[3].language == "sw" for one in texts)
    pairs = Counter((one.swaps[0].language, one.swaps[1].language) for one in texts)
    assert set(pairs) == {("sw", "sw"), ("sw", "hi"), ("hi", "sw"), ("hi", "hi")}
    assert min(pairs.values()) > 60
    half = switcher(SWAHILI, both, mixed=0.5)
    assert 150 < sum(half.switch("dog", epoch=0, index=index).language is None for index in range(400)) < 250


@given(st.text(max_size=200), st.sampled_from([0.0, 1.0]))
def test_any_text_at_all_is_switched_without_fail(text: str, shuffle: float) -> None:
    found = switcher(shuffle=shuffle).switch(text, epoch=0, index=0)
    if shuffle == 0.0:
        assert undone(found) == text


def test_epoch_and_index_and_seed_each_draw_anew_and_repeat_exactly() -> None:
    text = "the dog bought many apples and the cat bought a rose " * 3

    def drawn(seed: int = 0, epoch: int = 0, index: int = 0) -> CodeSwitched:
        return switcher(SWAHILI, HINDI, ratio=0.5, shuffle=0.5, seed=seed).switch(text, epoch=epoch, index=index)

    assert drawn() == drawn()
    assert len({drawn().text, drawn(seed=1).text, drawn(epoch=1).text, drawn(index=1).text}) == 4


def test_what_is_drawn_depends_on_no_process_and_no_order() -> None:
    """Another interpreter, with another hash seed and after other texts, draws the same bytes."""
    program = (
        "from tests.data.switching.test_code_switching import *\n"
        "s = switcher(SWAHILI, HINDI, ratio=0.5, shuffle=0.5)\n"
        "s.switch('the cat', epoch=7, index=7)\n"
        "print(ascii([s.switch('The dog bought many apples', epoch=1, index=i).text for i in range(20)]))"
    )
    root = Path(__file__).resolve().parents[3]
    environment = {"PYTHONHASHSEED": "123", "PYTHONPATH": str(root)}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment, cwd=root)
    here = switcher(SWAHILI, HINDI, ratio=0.5, shuffle=0.5)
    assert run.stdout.strip() == ascii([here.switch("The dog bought many apples", epoch=1, index=i).text for i in range(20)])


def test_ratio_languages_and_weights_are_met_within_sampling_error() -> None:
    weighted = build_lexicon([Pair("dog", "mbwa")] * 3 + [Pair("dog", "jibwa")], language("sw"), "test")
    settings = CodeSwitchingSettings(ratios=(0.2, 0.8))
    both = CodeSwitcher({"sw": weighted, "hi": HINDI}, settings, seed=0)
    found = [both.switch("dog " * 10, epoch=0, index=index) for index in range(2000)]
    for ratio in (0.2, 0.8):
        of_ratio = [one for one in found if one.ratio == ratio]
        assert abs(len(of_ratio) - 1000) < 120
        share = sum(len(one.swaps) for one in of_ratio) / sum(one.translatable for one in of_ratio)
        assert abs(share - ratio) < 0.02
    swahili = [one for one in found if one.language == "sw"]
    assert abs(len(swahili) - 1000) < 120
    chosen = Counter(one.text[one.swaps[0].start : one.swaps[0].end] for one in swahili if one.swaps)
    assert set(chosen) == {"mbwa", "jibwa"}
    assert abs(chosen["mbwa"] / chosen.total() - 0.75) < 0.06


def test_a_range_of_ratios_is_drawn_from_evenly() -> None:
    settings = CodeSwitchingSettings.model_validate({"ratios": {"min": 0.2, "max": 0.8}})
    ranged = CodeSwitcher({"sw": SWAHILI}, settings, seed=0)
    found = [ranged.switch("dog " * 10, epoch=0, index=index) for index in range(2000)]
    ratios = [one.ratio for one in found]
    assert 0.2 <= min(ratios) < 0.21
    assert 0.79 < max(ratios) <= 0.8
    assert all(abs(sum(low <= ratio < low + 0.2 for ratio in ratios) - 667) < 90 for low in (0.2, 0.4, 0.6))
    for low in (0.2, 0.4, 0.6):
        of_third = [one for one in found if low <= one.ratio < low + 0.2]
        share = sum(len(one.swaps) for one in of_third) / sum(one.translatable for one in of_third)
        assert abs(share - low - 0.1) < 0.03


def test_one_ratio_alone_is_a_list_of_one_and_a_range_has_an_order() -> None:
    assert CodeSwitchingSettings.model_validate({"ratios": 0.5}).ratios == (0.5,)
    for wrong in ({"min": 0.8, "max": 0.2}, 1.5, [], {"min": 0.1}, True):
        with pytest.raises(ValidationError):
            CodeSwitchingSettings.model_validate({"ratios": wrong})


def test_a_word_that_occurs_twice_has_one_translation() -> None:
    two = build_lexicon([Pair("dog", "mbwa"), Pair("dog", "jibwa")], language("sw"), "test")
    found = [switcher(two).switch("dog dog dog", epoch=0, index=index).text.split() for index in range(20)]
    assert all(len(set(words)) == 1 for words in found)
    assert len({words[0] for words in found}) == 2


def test_ratio_zero_leaves_the_text_and_ratio_one_swaps_all() -> None:
    text = "The dog bought many apples, xyz."
    assert switched(text, ratio=0.0) == text
    assert len(switcher().switch(text, epoch=0, index=0).swaps) == 5


def test_no_lexicon_is_an_error() -> None:
    with pytest.raises(DataError, match=r"data\.lexicons: the recipe has no lexicon"):
        CodeSwitcher({}, CodeSwitchingSettings(), seed=0)


def test_real_problems_in_a_real_language_keep_every_number(shared_data: Path) -> None:
    with gzip.open(shared_data / "gsm8k" / "test.jsonl.gz", "rt", encoding="utf-8") as file:
        questions = [json.loads(line)["question"] for line in file]
    bengali = load_lexicon(str(shared_data / "lexicon_muse" / "en-bn.txt.gz"), "bn")
    real = switcher(bengali, ratio=0.9, names=find_names(questions))
    bengali_letters = re.compile(r"[\u0980-\u09ff]")
    swapped = 0
    for index, question in enumerate(questions):
        found = real.switch(question, epoch=0, index=index)
        assert re.findall(r"\d", found.text) == re.findall(r"\d", question)
        assert re.findall(r"[.,?!$%]", found.text) == re.findall(r"[.,?!$%]", question)
        assert all(bengali_letters.search(found.text[swap.start : swap.end]) for swap in found.swaps)
        swapped += len(found.swaps)
    assert swapped > 20 * len(questions)
