"""Knows the words for "answer", "question" and "user" in many languages, and which phrase before a colon means which of them.

`answer_phrases.tsv` lists them: `answer`, `is` (words between it and the number), `question`, `speaker` (who asks in a chat).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib import resources
from typing import Literal

Kind = Literal["answer", "question", "speaker"]

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u9fff\uac00-\ud7af"
"""Characters of scripts that put no space, or a particle without a space, after a word: Thai to Hangul."""

_HAS_UNSPACED = re.compile(f"[{UNSPACED}]")
# Labels that count only if they are the whole phrase.
_WHOLE_PHRASES: Mapping[str, Kind] = {
    **dict.fromkeys(("ans", "a", "final result", "final value", "final total", "response", "solution is"), "answer"),
    **dict.fromkeys(("résultat final", "resultado final", "risultato finale", "wynik końcowy", "итоговый ответ"), "answer"),
    **dict.fromkeys(
        ("q", "input", "english", "instructions", "next", "new question", "next example", "user question"), "question"
    ),
    **dict.fromkeys(("another example", "another question", "another problem", "example", "word problem", "task"), "question"),
}
_POINTERS = frozenset(("the", "this", "that", "our", "my", "your", "to", "each", "every", "key", "main", "first", "one", "no"))


@cache
def words_of(kind: str) -> Mapping[str, tuple[str, ...]]:
    """The words of one kind by language, in lower case and without invisible characters."""
    text = (resources.files("lilift.evaluate.answers.responses") / "answer_phrases.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return {language: tuple(words.split("|")) for language, own, words in rows if own == kind}


@cache
def languages_of_answer_words() -> Mapping[str, tuple[str, ...]]:
    """The languages of each word for "answer"."""
    owners: dict[str, list[str]] = defaultdict(list)
    for language, words in words_of("answer").items():
        for word in words:
            owners[word].append(language)
    return {word: tuple(languages) for word, languages in owners.items()}


def answer_words() -> tuple[str, ...]:
    """The words for "answer" in every language of the table."""
    return tuple(languages_of_answer_words())


@cache
def _kinds() -> Mapping[str, Kind]:
    kinds: tuple[Kind, ...] = ("speaker", "question", "answer")
    return {word: kind for kind in kinds for words in words_of(kind).values() for word in words}


@cache
def _unspaced_words() -> tuple[tuple[str, Kind], ...]:
    found = [(word, kind) for word, kind in _kinds().items() if _HAS_UNSPACED.search(word)]
    return tuple(sorted(found, key=lambda pair: -len(pair[0])))


@lru_cache(maxsize=4096)
def kind_of_label(phrase: str) -> Kind | None:
    """What a phrase before a colon, or alone on its line, announces: an answer, a question, what a speaker says, or None.

    Args:
        phrase: in lower case, without marks and numbers around it, such as ``the final answer`` or ``câu hỏi``.
    """
    if phrase in _WHOLE_PHRASES:
        return _WHOLE_PHRASES[phrase]
    words = phrase.split()
    if not words:
        return None
    kinds = _kinds()
    for count in (1, 2, 3):
        last = kinds.get(" ".join(words[-count:]))
        if last == "answer" or (last and len(words) <= count + 1 and words[0] not in _POINTERS):
            return last
        first = kinds.get(" ".join(words[:count])) if len(words) <= 5 else None
        if first == "answer" or (first == "question" and len(words) <= count + 1):
            return first
    if _HAS_UNSPACED.search(phrase):
        for word, kind in _unspaced_words():
            near = len(phrase) <= len(word) + 8
            if (phrase.endswith(word) and (near or kind == "answer")) or (phrase.startswith(word) and near):
                return kind
    return None
