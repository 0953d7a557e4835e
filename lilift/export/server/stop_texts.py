"""Ends an answer before a stop text of its request."""

from __future__ import annotations

from collections.abc import Iterator

from lilift.export.runner.answer_text import Piece


class StopTexts:
    """Ends an answer before the first stop text that is complete; a stop text may be spread over several pieces.

    The work grows with the length of the answer alone, because each text is matched letter by letter (Knuth, Morris, Pratt).

    Args:
        texts: the stop texts; none of them is empty.
    """

    def __init__(self, texts: list[str]) -> None:
        self._matches = [_Match(text) for text in texts]
        self._held = ""
        self.found = False

    def passed(self, piece: Piece) -> Piece:
        """The part of the answer that may be sent now: a text that could be the beginning of a stop text waits."""
        before = len(self._held)
        self._held += piece.text
        for place, letter in enumerate(piece.text, start=before + 1):
            lengths = [match.length for match in self._matches if match.advance(letter)]
            if lengths:
                self.found = True
                return Piece(self._held[: place - max(lengths)], piece.tokens, "stop")
        safe = len(self._held) if piece.ending else len(self._held) - self._beginning()
        shown, self._held = self._held[:safe], self._held[safe:]
        return Piece(shown, piece.tokens, piece.ending)

    def _beginning(self) -> int:
        """How many of the last characters could be the beginning of a stop text."""
        return max((match.matched for match in self._matches), default=0)

    def until(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """The pieces of the answer up to a stop text."""
        for piece in pieces:
            shown = self.passed(piece)
            yield shown
            if shown.ending:
                return


class _Match:
    """How much of one stop text the end of an answer matches."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.length = len(text)
        self.matched = 0
        self._shorter = [0]  # for each beginning of the text, the longest shorter beginning that also ends it
        for letter in text[1:]:
            self._shorter.append(self._longer(self._shorter[-1], letter))

    def advance(self, letter: str) -> bool:
        """Read one letter of the answer, and return whether the text is complete."""
        self.matched = self._longer(self.matched, letter)
        return self.matched == self.length

    def _longer(self, matched: int, letter: str) -> int:
        while matched and self._text[matched] != letter:
            matched = self._shorter[matched - 1]
        return matched + (self._text[matched] == letter)
