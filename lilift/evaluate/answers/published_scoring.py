"""The authors' scoring, fault for fault, so that figures can be set beside the paper's.

What their evaluation does with a response (github.com/AzureStarz/LinguaLIFT at 61a03b8, `lm-evaluation-harness/lm_eval/tasks`,
and for MMWP github.com/AzureStarz/AlignSFT at 0d639b4):

- the response ends before the language's word for "Question:", ``[END]``, ``</s>`` or ``<|im_end|>``;
- numbers: a comma between two digits goes, then the last run of digits with an optional ``.digits`` is the answer. So a minus
  sign is lost, ``3,5`` is 35, ``1.050`` is 1.05, ``80 000`` is 0, ``3/4`` is 4, and a response without any number answers 0;
- right is what lies within 0.001 of the gold answer. They also accept a text that equals the gold answer, which cannot happen:
  that text is compared with a number (MGSM, MMWP), or with one written ``8.0`` after ``.0`` was taken off (MSVAMP);
- XNLI: right where the gold label's English word stands anywhere in the response, whatever else does;
- X-CSQA: the first single letter before a full stop, on the first line.

`published_stops.tsv` holds the words for "Question:". In MMWP's the Swedish and the Swahili one are swapped.
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
    """What the authors' code takes for the answer; 0.0 where there is no number."""
    found = _NUMBER.findall(_COMMA.sub(r"\1\2", _ended(response, (_question_words(benchmark).get(language), *_STOPS))))
    return float(found[-1]) if found else 0.0


def published_number_correct(response: str, gold: float, benchmark: str, language: str) -> bool:
    """Whether the authors' code counts a response to a word problem as right."""
    return abs(published_number(response, benchmark, language) - gold) < _TOLERANCE


def published_label_correct(response: str, gold: str, benchmark: str) -> bool:
    """Whether the authors' code counts a response to XNLI (`gold` is a word) or X-CSQA (a letter) as right."""
    if benchmark == "xcsqa":
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
    """The word for "Question:" by language; none for a benchmark that the authors do not have."""
    text = (resources.files("lilift.evaluate.answers") / "published_stops.tsv").read_text(encoding="utf-8")
    columns = {"mmwp": 1, "mgsm": 2, "msvamp": 2}
    column = columns.get(benchmark)
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return {row[0]: row[column] for row in rows if row[column]} if column else {}
