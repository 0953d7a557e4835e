"""The rule by which `--route auto` chooses how a question reaches the LLM: as text, through a translator, or over the bridge.

The rule reads two figures of the question: how many tokens the LLM's tokenizer makes of a word, and how many bits a word costs
the LLM as a language model (its negative log-likelihood in base 2). A language that the LLM has read has few of both. A word is
a run of letters; in scripts without blanks between words, a few letters count as one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

# The options of `lilift chat` read the limits from here, and `lilift --help` has to stay fast.
if TYPE_CHECKING:
    from lilift.evaluate.responders import StreamsResponses
    from lilift.translation.translation_cache import Translation

Route = Literal["plain", "pivot", "bridge"]
RouteChoice = Literal["auto", "plain", "pivot", "bridge"]
ROUTES: tuple[Route, ...] = ("plain", "pivot", "bridge")
TOKENS_PER_WORD = 4.0
"""The most tokens of a word in a question that `auto` lets the LLM read itself; see docs/choose.md for what it comes from."""
BITS_PER_WORD = 12.0
"""The most bits of a word in such a question."""
_LETTERS_OF_A_WORD = {
    **dict.fromkeys(("CJK", "HIRAGANA", "KATAKANA"), 2),
    **dict.fromkeys(("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"), 4),
}
"""Letters that count as one word, in scripts that write no blanks between words; by the first part of Unicode's names."""
_WITHIN_WORDS = "'’ʼ-"


@dataclass(frozen=True)
class Reading:
    """How well an LLM reads a text.

    Attributes:
        tokens_per_word: of the LLM's tokenizer.
        bits_per_word: the text's negative log-likelihood in base 2, divided by its words.
    """

    tokens_per_word: float
    bits_per_word: float


class TextReader(Protocol):
    """The LLM of a model, which reads questions as text."""

    @property
    def responder(self) -> StreamsResponses:
        """Answers questions that the LLM reads as text."""

    def reading(self, text: str) -> Reading:
        """How well the LLM reads a text."""


@dataclass(frozen=True)
class RouteSettings:
    """How questions reach the LLM.

    Attributes:
        choice: one route for all questions, or `auto`.
        tokens_per_word, bits_per_word: with `auto`, the LLM itself reads questions up to these.
    """

    choice: RouteChoice = "auto"
    tokens_per_word: float = TOKENS_PER_WORD
    bits_per_word: float = BITS_PER_WORD


@dataclass(frozen=True)
class RouteTaken:
    """The route of one question.

    Attributes:
        route: the route.
        reason: why, with figures and limits.
        reading: the figures; None if the rule did not need them.
    """

    route: Route
    reason: str
    reading: Reading | None = None

    @property
    def line(self) -> str:
        """The route and its reason for people."""
        return f"route: {self.route}, because {self.reason}"

    def as_dict(self) -> dict[str, Any]:
        """The route, its reason and the figures as plain JSON values."""
        found: dict[str, Any] = {"route": self.route, "route_reason": self.reason}
        if self.reading is not None:
            found["tokens_per_word"] = round(self.reading.tokens_per_word, 2)
            found["bits_per_word"] = round(self.reading.bits_per_word, 2)
        return found


def choose_route(
    settings: RouteSettings,
    open_routes: Collection[Route],
    reading: Callable[[], Reading],
    translation: Callable[[], Translation],
) -> RouteTaken:
    """The route of one question.

    `auto` takes the first of these that is open: `plain` if both figures are within the limits; `pivot` if the translation has
    every number and is complete; `bridge`; `pivot`.

    Args:
        settings: the choice and the limits.
        open_routes: the routes that the model has for this question; `plain` is always one of them.
        reading: how well the LLM reads the question; called only if the choice needs it.
        translation: the question's translation; called only if the choice needs it.
    """
    if settings.choice != "auto":
        return RouteTaken(settings.choice, f"--route {settings.choice} takes it for every question")
    if len(open_routes) == 1:
        (only,) = open_routes
        return RouteTaken(only, "no other route is open")
    found = reading()
    well, figures = _compared(found, settings)
    if well:
        return RouteTaken("plain", f"the LLM reads the question well ({figures})", found)
    badly = f"the LLM reads the question badly ({figures})"
    if "pivot" in open_routes:
        translated = translation()
        if translated.numbers_kept and translated.complete:
            return RouteTaken("pivot", f"{badly}, and the translation has every number", found)
        fault = "is not complete" if translated.numbers_kept else "has lost a number"
        if "bridge" in open_routes:
            return RouteTaken("bridge", f"{badly}, and the translation {fault}", found)
        return RouteTaken("pivot", f"{badly}; the translation {fault}, but there is no bridge", found)
    return RouteTaken("bridge", f"{badly}, and no translator is open to it", found)


def _compared(reading: Reading, settings: RouteSettings) -> tuple[bool, str]:
    """Whether both figures are within the limits, and both comparisons in words."""
    parts, well = [], True
    for found, most, what in (
        (reading.tokens_per_word, settings.tokens_per_word, "tokens a word"),
        (reading.bits_per_word, settings.bits_per_word, "bits a word"),
    ):
        within = round(found, 2) <= most
        well = well and within
        parts.append(f"{found:.2f} {what}, {'at most' if within else 'more than'} {most:g}")
    return well, "; ".join(parts)


def count_words(text: str) -> float:
    """The words of a text: runs of letters, and in scripts without blanks between words a few letters each; at least 1."""
    count, run, unspaced = 0.0, False, 0.0
    for place, letter in enumerate(text):
        kind = unicodedata.category(letter)[0]
        if kind == "M" or (run and letter in _WITHIN_WORDS and text[place + 1 : place + 2].isalpha()):
            continue
        if kind != "L":
            run = False
            continue
        letters = _letters_of_a_word(letter)
        if letters:
            unspaced += 1 / letters
            run = False
        elif not run:
            count += 1
            run = True
    return max(1.0, count + unspaced)


def _letters_of_a_word(letter: str) -> int:
    """How many letters of this one's script count as a word; 0 if its script writes blanks between words."""
    if letter < "\u0e00":
        return 0
    return _LETTERS_OF_A_WORD.get(unicodedata.name(letter, "").split(" ")[0].split("-")[0], 0)


def reading_of(text: str, tokens: int, bits: float) -> Reading:
    """The figures of a text that has this many tokens and this many bits."""
    words = count_words(text)
    return Reading(tokens / words, bits / words)
