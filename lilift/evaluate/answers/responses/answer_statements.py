"""Finds the sentences that announce an answer: "the answer is 18", "18 is the answer", and the like in many languages."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from lilift.evaluate.answers.responses.answer_phrases import UNSPACED, languages_of_answer_words, words_of
from lilift.evaluate.answers.responses.word_patterns import any_of

_BETWEEN = r"[^\n.!?:;=。！？]"
_ENGLISH_IS = (
    r"is|was|are|be|been|being|equals?|becomes|remains|comes (?:out )?(?:to|at)|came (?:out )?to|works out (?:to|at)|amounts to"
)
_ENGLISH = re.compile(
    rf"['’]s\b(?!\s+[a-z]+\s+(?:is|are)\b)|(?:{_BETWEEN}{{0,60}}?[\s,*_)])??(?:{_ENGLISH_IS})\b(?!['’]t)|\s*(?:→|->|=>|—|–|-)(?=\s)"
    r"|\s(?:as|of)(?=:?\s\$?-?\d)"
)
_AT_ONCE = re.compile(r"[^\w\n]{0,8}(?=[\d零〇一二三四五六七八九十百千万两\-−√π$€£¥₹\\])")
_ENGLISH_AT_ONCE = re.compile(r"[ \t]+(?=[$€£]?-?\d[^\n]{0,30}(?:\n|$))")
_NOT = re.compile(r"\bnot\b|n['’]t\b|\bcannot\b")
_FEW_WORDS = re.compile(r"(?:[ \t]+[^\s\d.!?:;=।。,]{1,14}){1,2}[ \t]+(?=[-\d])")
_VERBS_AT_THE_END = (" sein", " zijn", " wäre", " zou zijn")  # Het antwoord moet 18 zijn
_UNSPACED_CHARACTER = re.compile(f"[{UNSPACED}]")
_TOO_COMMON = ("答",)  # also "reply" within other words; it counts only before a colon
_IS_BEFORE = re.compile(r"\b(?:is|are|was|be|must be|should be)(?: \w+){0,3} $")


class Statement(NamedTuple):
    """Words that announce an answer.

    `end` is where these words end, so that the number follows; with `before`, the number stands before `start`. With `at_once`,
    the number must follow directly.
    """

    start: int
    end: int
    at_once: bool = False
    before: bool = False


@cache
def _finders() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """The words for "answer": in ASCII letters, in other scripts with spaces, and in scripts without."""
    words = [word for word in languages_of_answer_words() if word not in _TOO_COMMON]
    unspaced = [word for word in words if re.search(f"[{UNSPACED}]", word)]
    ascii_words = [word for word in words if word.isascii()]
    spaced = [word for word in words if word not in unspaced]
    return (
        re.compile(rf"(?:{any_of(ascii_words, whole=True)})(?![^\W_])"),
        re.compile(rf"(?:{any_of(spaced, whole=True)})(?![^\W_])"),
        re.compile(any_of(unspaced)),
    )


@cache
def _tail(word: str) -> re.Pattern[str] | None:
    """What may stand between a word for "answer" and the number: some words and then "is", in the languages of the word."""
    languages = languages_of_answer_words()[word]
    copulas = [copula for language in languages for copula in words_of("is").get(language, ())]
    if not copulas:
        return None
    joined = "|".join(sorted(dict.fromkeys(map(re.escape, copulas)), key=len, reverse=True))
    if re.search(f"[{UNSPACED}]", word):
        return re.compile(rf"[^\n.!?:;=。！？\d]{{0,12}}?(?:{joined})")
    return re.compile(rf"(?:{_BETWEEN}{{0,40}}?[\s,*_)])??(?:{joined})(?![^\W_])")


@cache
def _is_before(word: str) -> re.Pattern[str] | None:
    """What stands between a number and a word for "answer" after it: ``18 es la respuesta``."""
    languages = languages_of_answer_words()[word]
    copulas = [copula for language in languages for copula in words_of("is").get(language, ())]
    if not copulas:
        return None
    joined = "|".join(map(re.escape, dict.fromkeys(copulas)))
    if _UNSPACED_CHARACTER.search(word):
        return re.compile(rf"\d[^\n.!?:;=。！？；：，、\d]{{0,8}}(?:{joined}|이|가)[^\s\d.,:;，。：；]{{0,4}} ?$")
    return re.compile(rf"\d[^\n.!?:;=]{{0,16}} (?:{joined}) (?:[^\W\d_]{{1,5}} )?(?:[^\W\d_]{{1,12}} )?$")


@cache
def _ascii_answer_words() -> frozenset[str]:
    return frozenset(word for word in languages_of_answer_words() if word.isascii())


_MARKS_TO_SPACES = str.maketrans({mark: " " for mark in map(chr, range(128)) if not mark.isalnum()})


def find_statements(low: str) -> list[Statement]:
    """The statements of a text in lower case, in order."""
    ascii_words, spaced, unspaced = _finders()
    if low.isascii():
        if _ascii_answer_words().isdisjoint(low.translate(_MARKS_TO_SPACES).split()):
            return []  # the usual case, found faster than with the pattern
        found = [_statement(low, match) for match in ascii_words.finditer(low)]
    else:
        found = [_statement(low, match) for match in spaced.finditer(low)]
        if _UNSPACED_CHARACTER.search(low):
            found += [_statement(low, match) for match in unspaced.finditer(low)]
            found.sort(key=lambda one: one.start if one else 0)
    return [one for one in found if one]


def _statement(low: str, match: re.Match[str]) -> Statement | None:
    word, start, end = match.group(), match.start(), match.end()
    if word == "answer":
        if tail := _ENGLISH.match(low, end):
            if _NOT.search(low, end, tail.end() + 4):
                return None
            return Statement(start, tail.end())
        if _IS_BEFORE.search(low, max(0, start - 30), start):
            return Statement(start, end, before=True)
        line = low[low.rfind("\n", 0, start) + 1 : start].strip(" #*_>")
        at_once = _ENGLISH_AT_ONCE.match(low, end) if line in ("", "final", "the", "the final") else None
        return Statement(start, at_once.end(), at_once=True) if at_once else None
    if at_once := _AT_ONCE.match(low, end):
        return Statement(start, at_once.end() if low[at_once.end() - 1] not in "-−" else end, at_once=True)
    tail_of_word = _tail(word)
    tail = tail_of_word.match(low, end) if tail_of_word else None
    few = _FEW_WORDS.match(low, end) if word[0] < "\u0530" else None  # in Indic languages, "answer" is also "north"
    if tail and not (few and few.end() < tail.end() and tail.group().endswith(_VERBS_AT_THE_END)):
        return Statement(start, tail.end())
    is_before = _is_before(word)
    if few and not (is_before and is_before.search(low, max(0, start - 40), start)):
        return Statement(start, few.end())
    if low[start - 1 : start] == "が" or (is_before and is_before.search(low, max(0, start - 40), start)):
        return Statement(start, end, before=True)
    return None
