"""Word-order noise: an English text whose sentences are put in some other order, as another language might.

A lexicon moves words, never word order, and word order is the harder half of understanding another language. Chunks are
guessed without a parser: a function word or a number stays with what follows it, other words begin a chunk of their own or join
the one before, at random. Within a clause (up to a punctuation mark, which stays where it is) chunks are shuffled, and half
of them are turned around, so that prepositions become postpositions and adjectives follow their nouns.
"""

from __future__ import annotations

import random
import re

from lilift.data.english import PLAIN_WORD, PROTECTED

# Most pieces are words between spaces, which the first alternative alone reads; nothing protected begins with a space.
_PIECE = re.compile(rf"([A-Za-z]+[,.;:!?]?(?!\S)|(?:{PLAIN_WORD}|(?!\s)(?:{PROTECTED.pattern})|\S)+)", re.VERBOSE | re.DOTALL)
_STOP = re.compile(r"[,;:.!?]+[\"'”’)]*$")
_LEADING_WORDS = """
    a an the this that these those his her its their our my your each every some any no all both half
    in on at to from of for with by about into over under near after before during between among per than as how many much
"""
_LEADING = frozenset(_LEADING_WORDS.split())


def shuffled(text: str, rng: random.Random, names: frozenset[str] = frozenset()) -> str:
    """The text with the words of each clause moved about. Every word, number and punctuation mark stays in its clause.

    Args:
        text: English.
        rng: where chance comes from.
        names: lower-case words that keep their capital at the beginning of a sentence.
    """
    result: list[str] = []
    clause: list[str] = []
    pieces = _PIECE.split(text)  # gap, piece, gap, …, piece, gap
    for place in range(1, len(pieces), 2):
        word, gap = pieces[place], pieces[place + 1]
        if not clause:
            result.append(pieces[place - 1])
        clause.append(word)
        # A word that ends in a letter or digit stops no clause; most do, and are not searched.
        stop = None if word[-1].isalnum() else _STOP.search(word)
        if stop is None and "\n" not in gap and place + 2 < len(pieces):
            continue
        if stop is not None:
            clause[-1] = word[: stop.start()]
        result.append(_clause(clause, rng, names))
        if stop is not None:
            result.append(stop[0])
        clause = []
    result.append(pieces[-1])
    return "".join(result)


def _clause(words: list[str], rng: random.Random, names: frozenset[str]) -> str:
    """One clause in another order; the punctuation after it is not part of it."""
    if not words[-1]:
        del words[-1]
    capital = bool(words) and words[0][0].isupper()
    if capital and words[0] != "I" and words[0].lower() not in names and not words[0][1:2].isupper():
        words[0] = words[0][0].lower() + words[0][1:]
    moved: list[str] = []
    chance = rng.random
    for chunk in _in_any_order(_chunks(words, rng), rng):
        if chance() < 0.5:
            chunk.reverse()
        moved += chunk
    if capital and moved[0][0].isalpha():
        moved[0] = moved[0][0].upper() + moved[0][1:]
    return " ".join(moved)


def _chunks(words: list[str], rng: random.Random) -> list[list[str]]:
    chunks: list[list[str]] = []
    chance = rng.random
    leading = False
    for word in words:
        leads = word.lower() in _LEADING
        number = word[0].isdigit()
        if leading or (chunks and not leads and not number and chance() < 0.3):
            chunks[-1].append(word)
        else:
            chunks.append([word])
        leading = leads or number
    return chunks


def _in_any_order(chunks: list[list[str]], rng: random.Random) -> list[list[str]]:
    """Shuffled in place. `random.shuffle` takes three times as long, and another Python may shuffle in another way."""
    bits = rng.getrandbits
    for last in range(len(chunks) - 1, 0, -1):
        width = (last + 1).bit_length()
        place = bits(width)
        while place > last:
            place = bits(width)
        chunks[last], chunks[place] = chunks[place], chunks[last]
    return chunks
