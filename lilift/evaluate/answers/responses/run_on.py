"""Cuts a response where the LLM goes on with a new question or a new turn of a chat, so that only its own answer is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from lilift.evaluate.answers.responses.response_labels import ResponseLabel

# Tokens that end a text or a turn, as far as a tokenizer wrote them out: </s>, <|im_end|>, <end_of_turn>, [INST], …
_SPECIAL = (
    r"<\|[^|<>\n]{1,40}\|>|</?s>|<(?:eos|bos|pad|eot|end_of_turn|start_of_turn|end_of_text|endoftext)>|\[/?INST\]|\[END\]"
    r"|<</?SYS>>|\[\|[^|\[\]\n]{1,20}\|\]|<｜[^｜<>\n]{1,40}｜>"
)
_SPECIAL_TOKEN = re.compile(_SPECIAL, re.IGNORECASE)
_OPENING_TOKENS = re.compile(
    rf"\s*(?:(?:{_SPECIAL})\s*(?:user|human|assistant|model|system|final|analysis)?\s*)+", re.IGNORECASE
)
_ASKS = re.compile(r"user|human|\[INST\]\s*$", re.IGNORECASE)
_ASSISTANT_TURN = re.compile(
    rf"(?:{_SPECIAL})\s*(?:assistant|model)\b\s*(?:{_SPECIAL})?|<\|(?:assistant|model)\|>|\[/INST\]", re.IGNORECASE
)
_TEMPLATE = "below is an instruction that describes a task"
_QUESTION_MARKS = ("?", "？", "؟", "՞", ";", "፧")
_GIVEN = re.compile(r"\W*(?:given|known|facts?|data|information|we know|gegeben|données|datos|dados|dati|дано|已知|条件)\b")
_ANNOUNCED = re.compile(r"####|\\boxed")
_NUMBER = re.compile(r"\d+")
_FIRST_SENTENCE = re.compile(r"\d[^\n.!?。！？।]{0,60}(?:[.!。！।]\**\s+|\n+)")
_QUESTION = re.compile(r"[^?？؟]{10,500}[.!。！।:]\s?[^?？؟.!。！।\n]{6,200}[?？؟]")
_DOUBT = re.compile(
    r"\b(?:wait|hmm|actually|check|verify|correct|right|sense|answer|mistake|wrong|sure|would you|do you|can i|let me|let's"
    r"|i|we|our)\b"
)
_BARE_ROLE = re.compile(r"(?<=[.!?)}\]*\d。\n])user\n")  # a turn whose special tokens a tokenizer has removed
_NEAR = 8  # characters
_ASSISTANTS = ("assistant", "gpt", "bot")
_LONGEST_QUESTION = 2000  # characters


def first_answer(
    text: str, low: str, labels: Sequence[ResponseLabel], announced: int, holds_answer: Callable[[str, int, int], object]
) -> tuple[int, int]:
    """Where the first answer of a response begins and ends.

    The response ends before a special token, a new question (``Question:``, ``### Instruction:``, in many languages), a new
    turn of a chat (``User:``), or a question without a label that is followed by its own answer. A question at the beginning,
    before any answer, is the LLM's repetition of its own question and ends nothing; nor do its own numbered questions.

    Args:
        text: a response.
        low: the same in lower case (`lilift.evaluate.answers.responses.response_labels.lowered`).
        labels: the labels of `low`.
        announced: where a sentence first announces an answer ("the answer is"); the length of the text without one.
        holds_answer: whether a text between two positions may hold an answer.
    """
    if (
        not labels
        and "<" not in text
        and "[" not in text
        and "\n\n" not in text
        and _TEMPLATE not in low
        and "user\n" not in low
    ):
        return 0, _answered_question(text, low, 0, announced, len(text))
    start, end = (0, len(text)) if "<" not in text and "[" not in text else _without_special_tokens(text)
    role = _BARE_ROLE.search(low, start + 1, end) if "user\n" in low else None
    if role and holds_answer(text, start, role.start()):
        end = role.start()
    template = low.find(_TEMPLATE, start + 1)
    if start < template < end and holds_answer(text, start, template):
        end = template
    own = [label for label in labels if start <= label.start < end]
    if own and (any(label.kind != "answer" or label.phrase == "response" for label in own) or _ends_in_question(text)):
        cuts = _Cuts(text, low, own, start, announced)
        answered = False
        for label in own:
            cut = cuts.at(label)
            if cut is None or cut <= start:
                continue
            answered = answered or bool(holds_answer(text, start, cut))
            if answered:
                end = cut
                break
    if "\n\n" in text and _ends_in_question(text):
        mark = _ANNOUNCED.search(low, start, end)
        answers = [label.start for label in own if label.kind == "answer"]
        announced = min([announced, *answers[:1], *([mark.start()] if mark else [])])
        end = min(end, _unlabelled_question(text, start, announced))
    return start, _answered_question(text, low, start, announced, end)


def _answered_question(text: str, low: str, start: int, announced: int, end: int) -> int:
    """The beginning of a new word problem that follows an announced answer in the same paragraph, with its own solution.

    The problem has two sentences or more, two numbers or more and no equation before its question mark, and does not speak of
    the answer ("Wait, is 18 right?").
    """
    if announced >= end or not _ends_in_question(text):
        return end
    first = _FIRST_SENTENCE.search(text, max(start, announced), end)
    if first is None:
        return end
    problem = _QUESTION.match(text, first.end(), min(end, first.end() + 600))
    if problem is None or _DOUBT.search(low, problem.start(), problem.end()) or not _NUMBER.search(text, problem.end(), end):
        return end
    written = problem.group()
    return first.end() if len(written) >= 30 and "=" not in written and len(_NUMBER.findall(written)) >= 2 else end


def _ends_in_question(text: str) -> bool:
    """Whether a part of a text may end in a question."""
    return "?" in text or (not text.isascii() and any(mark in text for mark in _QUESTION_MARKS))


def _without_special_tokens(text: str) -> tuple[int, int]:
    """Where the first turn of the assistant begins and ends."""
    start = 0
    if "</think>" in text and _NUMBER.search(text, text.find("</think>")):
        start = text.find("</think>") + len("</think>")
    if "<|channel|>final<|message|>" in text:
        start = text.find("<|channel|>final<|message|>") + len("<|channel|>final<|message|>")
    opening = _OPENING_TOKENS.match(text, start)
    if opening:
        start = opening.end()
        if _ASKS.search(opening.group()):  # the whole conversation again
            turn = _ASSISTANT_TURN.search(text, start)
            start = turn.end() if turn else start
    token = _SPECIAL_TOKEN.search(text, start)
    return start, token.start() if token else len(text)


class _Cuts:
    """Decides for each label of a response whether the response ends there."""

    def __init__(self, text: str, low: str, labels: Sequence[ResponseLabel], start: int, announced: int) -> None:
        self.text, self.start = text, start
        questions = [label for label in labels if label.kind == "question" and label.number is not None]
        answers = [label.start for label in labels if label.kind == "answer"]
        opening = labels[0]
        # "User: … Assistant: 18": the response repeats its own turn of the chat.
        self.own_turn = (
            next((one.start for one in labels[1:] if one.kind == "speaker"), -1)
            if (opening.kind == "speaker" and opening.start - start < _NEAR and opening.phrase not in _ASSISTANTS)
            else -1
        )
        self.in_steps = bool(questions) and questions[0].number in (0, 1)  # "Question 1: … Question 2: …"
        self.given = _GIVEN.match(low, start) is not None  # "Given: … Question: … Solution: …"
        self.first_answer = answers[0] if answers else len(text)
        mark = _ANNOUNCED.search(low, start)
        self.announced = min(announced, mark.start() if mark else len(text))
        if not (self.in_steps and questions[0].start < self.first_answer):
            self.announced = min(self.announced, self.first_answer)

    def at(self, label: ResponseLabel) -> int | None:
        """Where the response ends because of a label; None if the label belongs to the answer."""
        if label.kind == "answer":
            if label.phrase == "response" and self.announced < label.start:
                return label.start
            return self._question_before(label)
        if not label.opens_sentence or label.start == self.own_turn:
            return None
        own_step = label.number is not None and self.in_steps
        if label.kind == "question" and (own_step or self.given) and label.start < self.announced:
            return None
        return label.start

    def _question_before(self, label: ResponseLabel) -> int | None:
        """The beginning of the unlabelled question that ends right before an answer label, if it is a paragraph of its own."""
        line = max(self.start, label.start - _LONGEST_QUESTION)
        before = self.text[line : label.start].rstrip(" \t\n#*_>")
        if not before.endswith(_QUESTION_MARKS):
            return None
        paragraph = before.rfind("\n\n")
        if paragraph < 0:
            paragraph = before.rfind("\n")
        return None if paragraph < 0 else line + paragraph


def _unlabelled_question(text: str, start: int, announced: int) -> int:
    """The beginning of a new word problem that follows an announced answer without a label; the end of the text without one."""
    position = text.find("\n\n", max(start, announced))
    while position >= 0:
        following = text.find("\n\n", position + 2)
        paragraph = text[position : following if following >= 0 else len(text)].strip()
        if len(paragraph) >= 30 and paragraph.endswith(_QUESTION_MARKS) and len(_NUMBER.findall(paragraph)) >= 2:
            return position
        position = following
    return len(text)
