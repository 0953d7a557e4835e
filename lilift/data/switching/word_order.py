"""Word-order noise: changes the order of the words in English sentences, because other languages have other word orders.

A lexicon changes words but not their order, and the order is the harder half of understanding another language. lilift guesses
chunks without a parser: a function word or a number stays with the next word; other words start a new chunk or join the chunk
before, at random. lilift shuffles the chunks within a clause, which ends at a punctuation mark; the mark stays in its place. It
reverses half of the chunks, so that prepositions become postpositions and adjectives follow their nouns.
"""

from __future__ import annotations

import random
import re
from functools import lru_cache

from lilift.data.lexicons.english_forms import PLAIN_WORD, PROTECTED

# The first alternative matches most pieces: words between spaces. Protected text never begins with a space.
_PIECE = re.compile(rf"([A-Za-z]+[,.;:!?]?(?!\S)|(?:{PLAIN_WORD}|(?!\s)(?:{PROTECTED.pattern})|\S)+)", re.VERBOSE | re.DOTALL)
_STOP = re.compile(r"[,;:.!?]+[\"'”’)]*$")
_LEADING_WORDS = """
    a an the this that these those his her its their our my your each every some any no all both half
    in on at to from of for with by about into over under near after before during between among per than as how many much
"""
_LEADING = frozenset(_LEADING_WORDS.split())


@lru_cache(maxsize=1 << 16)
def _read(piece: str) -> tuple[str, bool, str]:
    """The parts of a piece between two spaces: its word (may be empty), whether it stays with the next word, and its stop."""
    stop = _STOP.search(piece)
    word = piece if stop is None else piece[: stop.start()]
    return word, word.lower() in _LEADING or word[:1].isdigit(), "" if stop is None else stop[0]


def shuffled(text: str, rng: random.Random, names: frozenset[str] = frozenset()) -> str:
    """The text with another order of the words in each clause. Every word, number and punctuation mark stays in its clause.

    Args:
        text: an English text.
        rng: the random number generator.
        names: lower-case words that are names, so they keep their capital.
    """
    pieces = _PIECE.split(text)  # gap, piece, gap, …, piece, gap
    result: list[str] = [pieces[0]]
    chunks: list[list[str]] = []
    chance = rng.random
    leading = capital = False
    for piece, gap in zip(pieces[1::2], pieces[2::2], strict=True):
        word, leads, stop = _read(piece)
        if word:
            if not chunks:
                capital = word[0].isupper()
                if capital:
                    word = _within_clause(word, names)
            if leading or (chunks and not leads and chance() < 0.3):
                chunks[-1].append(word)
            else:
                chunks.append([word])
            leading = leads
        if stop or (gap != " " and "\n" in gap):
            result += _in_other_order(chunks, rng, capital), stop, gap
            chunks = []
            leading = capital = False
    if chunks:
        result += _in_other_order(chunks, rng, capital), pieces[-1]
    return "".join(result)


def _within_clause(word: str, names: frozenset[str]) -> str:
    """The first word of a sentence in the form that it has inside a sentence."""
    if word == "I" or word.lower() in names or word[1:2].isupper():
        return word
    return word[0].lower() + word[1:]


def _in_other_order(chunks: list[list[str]], rng: random.Random, capital: bool) -> str:
    """A clause with its chunks in another order; half of the chunks are reversed."""
    chance = rng.random
    moved: list[str] = []
    for chunk in _in_any_order(chunks, rng):
        if chance() < 0.5:
            chunk.reverse()
        moved += chunk
    if capital and moved[0][0].isalpha():
        moved[0] = moved[0][0].upper() + moved[0][1:]
    return " ".join(moved)


def _in_any_order(chunks: list[list[str]], rng: random.Random) -> list[list[str]]:
    """Shuffle in place. `random.shuffle` takes three times as long, and may give another order in another Python version."""
    bits = rng.getrandbits
    for last in range(len(chunks) - 1, 0, -1):
        width = (last + 1).bit_length()
        place = bits(width)
        while place > last:
            place = bits(width)
        chunks[last], chunks[place] = chunks[place], chunks[last]
    return chunks
