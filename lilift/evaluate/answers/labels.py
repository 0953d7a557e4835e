"""Extracts the label that a response names: a word, such as entailment or travel, or the letter of a choice.

As with numbers, the extraction never looks at the gold label, and a response that names no label counts as missing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lilift.evaluate.answers.number_words import answer_words

_ANNOUNCED = re.compile(
    r"\banswer\W{0,4}(?:is|would be)\b|####|\\boxed\s*\{|答案是|答えは"
    rf"|(?<!\w)(?:{'|'.join(answer_words())})\W{{0,3}}[:=：]",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?](?=\s)|[。।\n]")


def extract_label(response: str, labels: Sequence[str], choices: Sequence[str] = ()) -> str | None:
    """The label that a response gives as its answer, or None if it names none.

    The first of these that exists: the label after the last "the answer is" or "answer:", the label at the beginning of the
    response, the last label that it names. If labels are letters, the last resort is the only choice whose text it repeats.

    Args:
        response: a whole response.
        labels: the possible labels: words, or the letters of the choices.
        choices: the text of each letter's choice; empty if labels are words.
    """
    for announced in reversed(list(_ANNOUNCED.finditer(response))):
        rest = response[announced.end() :].split("\n\n")[0]
        found = _named(rest, labels, choices, bare=True)
        if found and not _SENTENCE_END.search(rest[: found[0][0]].strip()):
            return found[0][1]
    opening = re.match(r"[\W_]*", response)
    found = _named(response, labels, choices, bare=False)
    if found and opening and found[0][0] <= opening.end():
        return found[0][1]
    if found:
        return found[-1][1]
    return _only_choice(response, labels, choices)


def _named(text: str, labels: Sequence[str], choices: Sequence[str], *, bare: bool) -> list[tuple[int, str]]:
    return _letters(text, labels, bare=bare) if choices else _words(text, labels)


def _words(text: str, labels: Sequence[str]) -> list[tuple[int, str]]:
    """The position of each label that the text names, in order; "not a contradiction" does not name a label.

    One part of a label such as "science/technology" names it too, and so do both parts with "and" between them.
    """
    by_word = {part.lower(): label for label in labels for part in (label, *label.split("/"))}
    words = "|".join(map(re.escape, sorted(by_word, key=len, reverse=True)))
    pattern = re.compile(rf"(?<!\w)(?<!not )(?<!not a )(?<!not an )({words})(?!\w)", re.IGNORECASE)
    return [(match.start(), by_word[match.group(1).lower()]) for match in pattern.finditer(text)]


def _letters(text: str, labels: Sequence[str], *, bare: bool) -> list[tuple[int, str]]:
    """The position of each letter that is a choice: ``B.``, ``(B)``, ``B)``, ``B:`` or a line of its own.

    With `bare`, a letter before a word counts too.
    """
    letters = "".join(labels)
    after = r"(?!\w)" if bare else r"(?=[.):\]*,]|\s*$|\s*\n)"
    pattern = re.compile(rf"(?<![\w'’])([{letters}]){after}", re.MULTILINE)
    return [(match.start(1), match.group(1)) for match in pattern.finditer(text)]


def _only_choice(response: str, labels: Sequence[str], choices: Sequence[str]) -> str | None:
    said = response.casefold()
    named = [
        label
        for label, choice in zip(labels, choices, strict=False)
        if re.search(rf"(?<!\w){re.escape(choice.casefold())}(?!\w)", said)
    ]
    return named[0] if len(named) == 1 else None
