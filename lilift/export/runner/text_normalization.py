"""Normalizes a text as the LLM's tokenizer did in training, because llama.cpp's tokenizer normalizes nothing.

Qwen's tokenizers bring a text into NFC before they split it. NFC writes some letters of Bengali and Hindi as two characters
(Unicode excludes them from composition). Without this step llama.cpp gives most Bengali sentences other tokens than training.
Python's Unicode tables are newer than those of `tokenizers` 0.23 (about Unicode 9), so rare texts with newer marks may differ.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Step = Mapping[str, Any]
"""One step of a normalizer, written as in `tokenizer.json`."""

FORMS = ("NFC", "NFD", "NFKC", "NFKD")
_WHITESPACE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001"
    "\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
"""Unicode's White_Space, which `tokenizers` strips; Python's `strip` also removes four control characters."""


class TextNormalization:
    """The normalizer of a tokenizer.

    Args:
        steps: its steps in their order; none of them for a tokenizer that normalizes nothing.
        control_tokens: the spellings that a tokenizer takes out of a text before it normalizes the rest.

    Raises:
        ValueError: lilift does not know a step.
    """

    def __init__(self, steps: Sequence[Step], control_tokens: Sequence[str] = ()) -> None:
        self._steps = [_function_of(step) for step in steps]
        spellings = sorted(control_tokens, key=len, reverse=True)
        self._control = re.compile(f"({'|'.join(map(re.escape, spellings))})") if spellings else None

    def __call__(self, text: str, *, as_text: bool = False) -> str:
        """The normalized text.

        Args:
            text: any text.
            as_text: normalize spellings of control tokens too, because they are text here.
        """
        if not self._steps:
            return text
        if as_text or self._control is None:
            return self._normalized(text)
        parts = self._control.split(text)  # texts and control tokens in turn
        return "".join(part if index % 2 else self._normalized(part) for index, part in enumerate(parts))

    def _normalized(self, text: str) -> str:
        for step in self._steps:
            text = step(text) if text else text
        return text


def can_normalize(step: Step) -> bool:
    """Whether `TextNormalization` knows a step."""
    try:
        _function_of(step)
    except ValueError:
        return False
    return True


def _function_of(step: Step) -> Callable[[str], str]:
    kind = step.get("type")
    if kind in FORMS:
        return lambda text: unicodedata.normalize(kind, text)
    if kind == "Lowercase":  # letter by letter: a sigma at the end of a word is one as any other
        return lambda text: "".join(map(str.lower, text))
    if kind == "StripAccents":
        return lambda text: "".join(letter for letter in text if not unicodedata.category(letter).startswith("M"))
    if kind == "Strip":
        left, right = bool(step.get("strip_left")), bool(step.get("strip_right"))
        return lambda text: _stripped(text, left=left, right=right)
    if kind == "Prepend":
        prefix = str(step["prepend"])
        return lambda text: prefix + text
    if kind == "Replace":
        content, (how, pattern) = str(step["content"]), next(iter(step["pattern"].items()))
        if how == "String":
            return lambda text: text.replace(pattern, content)
        if how == "Regex":
            import regex  # few tokenizers have such a step

            compiled = regex.compile(pattern)
            return lambda text: compiled.sub(lambda _: content, text)
    raise ValueError(f"lilift does not know the step {kind}")


def _stripped(text: str, *, left: bool, right: bool) -> str:
    text = text.lstrip(_WHITESPACE) if left else text
    return text.rstrip(_WHITESPACE) if right else text
