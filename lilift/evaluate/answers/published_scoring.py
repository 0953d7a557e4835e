"""Scores responses like the authors' own code, with all its faults, so that figures can be compared with the paper's.

Their evaluation treats a response like this (github.com/AzureStarz/LinguaLIFT at 61a03b8,
`lm-evaluation-harness/lm_eval/tasks`, and for MMWP github.com/AzureStarz/AlignSFT at 0d639b4):

- The response ends before the language's word for "Question:", ``[END]``, ``</s>`` or ``<|im_end|>``.
- Numbers: commas between two digits are removed. Then the last run of digits with an optional ``.digits`` is the answer. So it
  loses minus signs, ``3,5`` is 35, ``1.050`` is 1.05, ``80 000`` is 0, ``3/4`` is 4, and a response without any number answers
  0.
- An answer within 0.001 of the gold answer is right. They also accept a text that equals the gold answer, but this cannot
  happen: they compare the text with a number (MGSM, MMWP), or with a number written ``8.0`` after they removed ``.0`` (MSVAMP).
- XNLI, and words in general: a response is right if the English word of the gold label is anywhere in it, whatever else it
  says.
- X-CSQA, and letters in general: the answer is the first single letter before a full stop, on the first line.

They evaluate on MMWP, MGSM, MSVAMP, XNLI and X-CSQA alone. lilift scores the other benchmarks by the same rules.

`published_stops.tsv` holds the words for "Question:". In MMWP's list the Swedish and the Swahili word are swapped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

_STOPS = ("[END]", "</s>", "<|im_end|>")
_TOLERANCE = 0.001
_COMMA = re.compile(r"(\d),(\d)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_LETTER = re.compile(r"\b([A-Za-z])\b\.")


def published_number(response: str, benchmark: str, language: str) -> float:
    """The number that the authors' code extracts as the answer; 0.0 if the response has no number."""
    found = _NUMBER.findall(_COMMA.sub(r"\1\2", _ended(response, (_question_words(benchmark).get(language), *_STOPS))))
    return float(found[-1]) if found else 0.0


def published_number_correct(response: str, gold: float, benchmark: str, language: str) -> bool:
    """Whether the authors' code counts a response to a word problem as right."""
    return abs(published_number(response, benchmark, language) - gold) < _TOLERANCE


def published_label_correct(response: str, gold: str) -> bool:
    """Whether the authors' code counts a response as right if the answer is a label: a word as in XNLI, or X-CSQA's letters."""
    if len(gold) == 1:
        letter = _LETTER.search(_ended(response, ("</s>", "\n")))
        return letter is not None and letter.group(1) == gold
    return gold in _ended(response, ("</s>",))


def _ended(response: str, stops: tuple[str | None, ...]) -> str:
    for stop in stops:
        if stop:
            response = response.split(stop)[0]
    return response


@cache
def _question_words(benchmark: str) -> Mapping[str, str]:
    """The word for "Question:" by language; empty for a benchmark that the authors do not use."""
    text = (resources.files("lilift.evaluate.answers") / "published_stops.tsv").read_text(encoding="utf-8")
    columns = {"mmwp": 1, "mgsm": 2, "msvamp": 2}
    column = columns.get(benchmark)
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return {row[0]: row[column] for row in rows if row[column]} if column else {}
