"""Extracts the label that a response names: a word, such as entailment or travel, or the letter of a choice.

As with numbers, the extraction never looks at the gold label, and a response that names no label counts as missing.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from lilift.evaluate.answers.responses.answer_phrases import UNSPACED
from lilift.evaluate.answers.responses.answer_statements import find_statements
from lilift.evaluate.answers.responses.closing_remarks import without_closing_remarks
from lilift.evaluate.answers.responses.response_labels import find_labels, lowered
from lilift.evaluate.answers.responses.run_on import first_answer

_FULL_WIDTH_LETTERS = {ord("Ａ") + place: ord("A") + place for place in range(26)}
_ALONE = re.compile(
    r"[\W_]*(?:(?:the |final )?(?:answer|option|choice)[\W_]+)?([A-Za-z])[\W_]*", re.IGNORECASE
)  # b, 'B', answer: b
_UNSPACED = f"[{UNSPACED}]"
_TAG = re.compile(r"<(?:final[_ -]?)?answer>", re.IGNORECASE)
# B is correct, option B is right, B가 정답, 选B
_IS_RIGHT = re.compile(
    r"(?<![\w'’])(?:(?:option|choice|answer) )?([A-Z])\)? (?:is|must be|would be) (?:the )?(?:best|correct|right)\b"
)
_CHOOSES = re.compile(r"(?:故选|应选|選擇|选择|選|选)[:：]? ?([A-Z])(?![A-Za-z])")
_BOX = re.compile(r"\\boxed\s*\{|\\fbox\s*\{")
_MARK = re.compile(r"(?<!#)####(?!#)[^\n]*")
_SENTENCE_END = re.compile(r"[.!?](?=\s)|[。।\n]")
_MOST_ANNOUNCEMENTS = 100  # of one response; more are repetitions without an end
_LONGEST_ANSWER = 500  # characters after an announcement, or before "is the answer"


def extract_label(response: str, labels: Sequence[str], choices: Sequence[str] = ()) -> str | None:
    """The label that a response gives as its answer, or None if it names none.

    The first of these that exists: the label after the last "the answer is", "answer:" or heading "Answer", the label at the
    beginning of the response, the last label that it names before its closing remarks. If labels are letters, the last resort
    is the only choice whose text it repeats. The response ends where a new question begins.

    Args:
        response: a whole response.
        labels: the possible labels: words, or the letters of the choices.
        choices: the text of each letter's choice; empty if labels are words.
    """
    response = unicodedata.normalize("NFC", response.translate(_FULL_WIDTH_LETTERS))
    labels = [unicodedata.normalize("NFC", label) for label in labels]
    response = _first_answer(response, labels, choices)
    if choices and (alone := _ALONE.fullmatch(response)) and alone.group(1).upper() in labels:
        return alone.group(1).upper()
    low = lowered(response)
    for start, end in sorted(_announcements(response, low, labels, choices), reverse=True)[:_MOST_ANNOUNCEMENTS]:
        if end < start:  # "B is the answer"
            before = _named(response[max(0, start - 40) : start], labels, choices, bare=True)
            if before:
                return before[-1][1]
            continue
        rest = response[end : end + _LONGEST_ANSWER].lstrip().split("\n\n")[0]
        found = _named(rest, labels, choices, bare=True)
        if found and not _SENTENCE_END.search(rest[: found[0][0]].strip()):
            return found[0][1]
    if choices:
        right = [match.group(1) for pattern in (_IS_RIGHT, _CHOOSES) for match in pattern.finditer(response)]
        if right and right[-1] in labels and len(set(right)) == 1:
            return right[-1]
    opening = re.match(r"[\W_]*", response)
    found = _named(response, labels, choices, bare=False)
    if found and opening and found[0][0] <= opening.end():
        return found[0][1]
    if found:
        closing = without_closing_remarks(low, found[0][0] + 1)
        return [name for position, name in found if position < closing][-1]
    return _only_choice(response, labels, choices)


def _first_answer(response: str, labels: Sequence[str], choices: Sequence[str]) -> str:
    """The response up to a new question."""
    low = lowered(response)
    places = [position for position, _ in _named(response, labels, choices, bare=False)]
    places = sorted([*places, *(low.find(choice.lower()) for choice in choices if choice and choice.lower() in low)])

    def names_one(_: str, begin: int, end: int) -> bool:
        place = bisect_left(places, begin)
        return place < len(places) and places[place] < end

    statements = find_statements(low)
    announced = statements[0].start if statements else len(response)
    start, end = first_answer(response, low, find_labels(low), announced, names_one)
    return response[start:end]


def _announcements(response: str, low: str, labels: Sequence[str], choices: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Start and end of the words that announce a label; the end is -1 if the label stands before them."""
    for label in find_labels(low):
        if label.kind == "answer" and label.phrase != "a":  # "A:" is a choice
            yield label.end, label.end
    for statement in find_statements(low):
        yield (statement.start, -1) if statement.before else (statement.end, statement.end)
    for pattern in (_BOX, _TAG):
        for mark in pattern.finditer(response):
            yield mark.end(), mark.end()
    marks = list(_MARK.finditer(response))
    named = {found[0][1] for mark in marks if (found := _named(mark.group(), labels, choices, bare=True))}
    if len(named) < 2:  # otherwise headings, one for each label
        for mark in marks:
            yield mark.start() + 4, mark.start() + 4


def _named(text: str, labels: Sequence[str], choices: Sequence[str], *, bare: bool) -> list[tuple[int, str]]:
    return _letters(text, labels, bare=bare) if choices else _words(text, labels)


def _words(text: str, labels: Sequence[str]) -> list[tuple[int, str]]:
    """The position of each label that the text names, in order; "not a contradiction" does not name a label.

    One part of a label such as "science/technology" names it too, and so do both parts with "and" between them.
    """
    by_word = {part.lower(): label for label in labels for part in (label, *label.split("/"))}
    words = "|".join(map(re.escape, sorted(by_word, key=len, reverse=True)))
    # No letter stands beside a word. In scripts without spaces, this holds only for labels of one character.
    apart = min(map(len, by_word)) < 2 or re.search(_UNSPACED, words) is None
    before, after = (r"(?<!\w)", r"(?!\w)") if apart else ("", "")
    pattern = re.compile(rf"{before}(?<!not )(?<!not a )(?<!not an )({words}){after}", re.IGNORECASE)
    return [(match.start(), by_word[match.group(1).lower()]) for match in pattern.finditer(text)]


def _letters(text: str, labels: Sequence[str], *, bare: bool) -> list[tuple[int, str]]:
    """The position of each letter that is a choice: ``B.``, ``(B)``, ``B)``, ``B:`` or a line of its own.

    With `bare`, a letter before a word counts too.
    """
    letters = "".join(labels)
    after = rf"(?!(?!{_UNSPACED})\w)" if bare else r"(?=[.):\]*,]|\s*$|\s*\n)"
    before = rf"(?:(?<![\w'’])|(?<={_UNSPACED}))" if bare else r"(?<![\w'’])"
    pattern = re.compile(rf"{before}([{letters}]){after}", re.MULTILINE)
    return [(match.start(1), match.group(1)) for match in pattern.finditer(text)]


def _only_choice(response: str, labels: Sequence[str], choices: Sequence[str]) -> str | None:
    said = response.casefold()
    named = [
        label
        for label, choice in zip(labels, choices, strict=False)
        if re.search(rf"(?<!\w){re.escape(choice.casefold())}(?!\w)", said)
    ]
    return named[0] if len(named) == 1 else None
