"""Word-order noise: an English text whose sentences are put in some other order, as another language might.

A lexicon moves words, never word order, and word order is the harder half of understanding another language. Chunks are
guessed without a parser: a function word or a number stays with what follows it, other words begin a chunk of their own or join
the one before, at random. Within a clause (up to a punctuation mark, which stays where it is) chunks are shuffled, and half
of them are turned around, so that prepositions become postpositions and adjectives follow their nouns.
"""

from __future__ import annotations

import random
import re

from lilift.data.english import PROTECTED

_PIECE = re.compile(rf"(?:(?:{PROTECTED.pattern})|\S)+", re.VERBOSE | re.DOTALL)
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
    end = 0
    clause: list[re.Match[str]] = []
    pieces = list(_PIECE.finditer(text))
    for number, piece in enumerate(pieces):
        clause.append(piece)
        stop = _STOP.search(piece[0])
        if stop is None and number + 1 < len(pieces) and "\n" not in text[piece.end() : pieces[number + 1].start()]:
            continue
        result.append(text[end : clause[0].start()])
        result.append(_clause([match[0] for match in clause], rng, names))
        end, clause = piece.end(), []
    return "".join([*result, text[end:]])


def _clause(words: list[str], rng: random.Random, names: frozenset[str]) -> str:
    """One clause in another order, its last punctuation where it was."""
    stop = _STOP.search(words[-1])
    ending = stop[0] if stop else ""
    words = [*words[:-1], words[-1][: len(words[-1]) - len(ending)]]
    words = [word for word in words if word]
    capital = bool(words) and words[0][:1].isupper()
    if capital and words[0] != "I" and words[0].lower() not in names and not words[0][1:2].isupper():
        words[0] = words[0][:1].lower() + words[0][1:]
    chunks = _chunks(words, rng)
    rng.shuffle(chunks)
    moved = [word for chunk in chunks for word in (reversed(chunk) if rng.random() < 0.5 else chunk)]
    if capital and moved[0][:1].isalpha():
        moved[0] = moved[0][:1].upper() + moved[0][1:]
    return " ".join(moved) + ending


def _chunks(words: list[str], rng: random.Random) -> list[list[str]]:
    chunks: list[list[str]] = []
    leading = False
    for word in words:
        if leading or (chunks and word.lower() not in _LEADING and not word[:1].isdigit() and rng.random() < 0.3):
            chunks[-1].append(word)
        else:
            chunks.append([word])
        leading = word.lower() in _LEADING or word[:1].isdigit()
    return chunks
