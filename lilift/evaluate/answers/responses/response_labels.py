"""Finds the labels of a response: "Answer:", "### Final Answer", "Question 2:", "User:" and their like in many languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from lilift.evaluate.answers.responses.answer_phrases import Kind, kind_of_label, words_of
from lilift.evaluate.answers.responses.word_patterns import any_of

# Beside colons: Bengali and Hindi signs that look like one, the Ethiopic, Khmer and Armenian ones, the Burmese hyphen, "Ans."
_COLON = re.compile(r"[:：=៖፦՝]|[ঃः፡](?=\s)|-(?<=[\u1000-\u109f]-)(?= )|\.(?<=\bans\.)(?=\s)")
_COLON_TEST = re.compile(r"[：ঃः፡៖፦՝]|[\u1000-\u109f]-")
_BREAKS = r"\n.!?…।॥。！？；;,，(\[{)\]}<>|#\d=+:：/"
_LAST_BREAK = re.compile(rf".*[{_BREAKS}]", re.DOTALL)
_AROUND = " \t*_-–—•~\"'“”«»`\u200b"
_LONGEST = 60  # characters of a label
_LONGEST_HEADING = 40
_LONGEST_PLAIN_HEADING = 28
_PLAIN_HEADING = re.compile(r"(?:so |and )?(?:the |my |our )?(?:final |correct )?answers?")


class ResponseLabel(NamedTuple):
    """A label: what it announces, its first character, and the first character after it."""

    kind: Kind
    start: int
    end: int
    phrase: str
    number: int | None = None  # 2 in "Question 2:"
    opens_sentence: bool = True  # stands at the beginning of a line or a sentence, or right after a number


def lowered(text: str) -> str:
    """The text in lower case, character by character, so that positions stay the same."""
    low = text.lower()
    if len(low) == len(text):
        return low
    return "".join(small if len(small := character.lower()) == 1 else character for character in text)


def find_labels(low: str) -> list[ResponseLabel]:
    """The labels of a text, in order.

    Args:
        low: the text in lower case (`lowered`).
    """
    labels: list[ResponseLabel] = []
    if ":" in low or "=" in low or "ans." in low or (not low.isascii() and _COLON_TEST.search(low)):
        labels += _before_colons(low)
    sentences = "\n" in low or ". " in low or "。" in low or "। " in low
    others = list(_numbered_questions(low)) if sentences else []
    if "\n" in low or "#" in low:
        others += _on_lines_of_their_own(low)
    return sorted([*labels, *others], key=lambda label: label.start) if others else labels


@cache
def _numbered_question() -> re.Pattern[str]:
    words = any_of([*(word for words in words_of("question").values() for word in words), "task", "example", "q"])
    return re.compile(
        rf"[\n.!?。।][ \n\t]{{0,3}}(#{{1,6}}[ \t]*)?[*_(]{{0,3}}({words}(?: [^\W\d_]{{1,4}})? ?)(\d{{1,3}})"
        r"(?:[.)]\**(?=\s)|[*_]*(?=[ \t]*\n)(?(1)|(?!)))"
    )


def _numbered_questions(low: str) -> Iterator[ResponseLabel]:
    """Questions with a number and no colon: "Question 2. …", "## Question 2"."""
    for match in _numbered_question().finditer(low):
        yield ResponseLabel("question", match.start(2), match.end(), match.group(2).strip(), int(match.group(3)))


def _before_colons(low: str) -> Iterator[ResponseLabel]:
    for match in _COLON.finditer(low):
        position = match.start()
        left = low[max(0, position - _LONGEST) : position].rstrip(_AROUND)
        if left.endswith(")"):
            left = left[: max(0, left.rfind("("))].rstrip(_AROUND)
        number = None
        if left[-1:].isdigit():
            if match.group() == "=":
                continue
            head = left.rstrip("0123456789")
            number, left = left[len(head) :], head.rstrip(" \t*_#.")
        if not left:
            continue
        found = _LAST_BREAK.match(left)
        begin = found.end() if found else 0
        phrase = left[begin:].strip(_AROUND)
        kind = kind_of_label(phrase) if phrase else None
        if kind is None or (kind != "answer" and match.group() == "="):
            continue
        start = low.rfind(phrase, max(0, position - _LONGEST), position)
        opens = start < _LONGEST or found is not None
        if found:
            opens = left[begin - 1] in "\n.!?…।॥。！？)]}>|#" or left[begin - 1].isdigit()
        yield ResponseLabel(kind, start, match.end(), phrase, int(number) if number and len(number) < 4 else None, opens)


def _kind_of_heading(phrase: str, marked: bool) -> Kind | None:
    """What a line without a colon announces. Without a heading's mark, only the words for "answer" themselves count."""
    if phrase in ("a", "q", "english", "next") or any(map(str.isdigit, phrase)):
        return None
    kind = kind_of_label(phrase)
    if marked or kind is None:
        return kind
    if kind != "answer" or ("answer" in phrase and not _PLAIN_HEADING.fullmatch(phrase)):
        return None
    return kind if len(phrase) <= _LONGEST_PLAIN_HEADING else None


def _on_lines_of_their_own(low: str) -> list[ResponseLabel]:
    headings = []
    start = 0
    for line in low.split("\n"):
        if 0 < len(line) <= _LONGEST_HEADING and line[-1] not in ":：":
            phrase = line.strip(" \t#*_>-–—=.\r")
            if (
                phrase
                and phrase[-1].isalpha() | (phrase[-1] > "~")
                and (kind := _kind_of_heading(phrase, line.lstrip()[:1] == "#"))
            ):
                headings.append(ResponseLabel(kind, start, start + len(line), phrase))
        start += len(line) + 1
    return headings
