"""Compare lilift's rules for dictionary forms of English words with two lemmatisers, on GSM8K and 24 dictionaries.

pip install simplemma lemminflect
LILIFT_SHARED_DATA=FOLDER python -m benchmarks english_forms --check

FOLDER holds gsm8k/train.jsonl.gz, lexicon_wechsel_wiktionary and lexicon_gatitos as their publishers made them. Each system
names forms of a word, and the benchmark takes a dictionary's translations of the first form that it contains. Coverage is the
share of the words of GSM8K's questions (without names and numbers) that a dictionary translates. A form other than the word
itself is right if the NIH's SPECIALIST Lexicon, whose table of inflections comes with lemminflect, lists the word as a form of
it. Words that it does not list are not judged.
"""

from __future__ import annotations

import csv
import gzip
import importlib.resources
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from benchmarks.shared.result_files import data_parser, keep, parse_with_data, report_goals
from lilift.data.languages import languages
from lilift.data.lexicons.english_forms import base_of_possessive, count_words, dictionary_forms, find_names
from lilift.data.lexicons.lexicon_folder import load_lexicons
from lilift.data.texts.instructions import load_instructions
from lilift.recipe.schema import InstructionSettings

GOALS = {
    "coverage beyond the better lemmatiser": ("at least", 0.0),
    "share of forms that are right": ("at least", 0.99),
}
GATITOS = ("es", "fr", "hi")  # the files that lie unpacked; Wiktionary's are those of MMWP's 21 low-resource languages
Forms = Callable[[str], Sequence[str]]


def specialist_lexicon() -> dict[str, list[str]]:
    """Form → its dictionary forms, of every part of speech."""
    table: dict[str, list[str]] = {}
    data = importlib.resources.files("lemminflect") / "resources" / "lemma_lu.csv.gz"
    with importlib.resources.as_file(data) as path, gzip.open(path, "rt", encoding="utf-8") as file:
        for form, _, lemmas in csv.reader(file):
            table.setdefault(form, []).extend(lemma for lemma in re.split(r"[/ ]", lemmas) if lemma)
    return table


def itself(word: str) -> list[str]:
    """The word, and the word without 's."""
    straight = word.replace("’", "'")
    return [straight, base_of_possessive(straight)]


def systems(specialist: Mapping[str, Sequence[str]]) -> dict[str, Forms]:
    import simplemma

    def of_simplemma(word: str) -> list[str]:
        return [*itself(word), simplemma.lemmatize(itself(word)[1], lang="en").lower()]

    def of_lemminflect(word: str) -> list[str]:
        return [*itself(word), *specialist.get(itself(word)[1], ())]

    return {
        "the word alone": itself,
        "lilift": dictionary_forms,
        f"simplemma {version('simplemma')}": of_simplemma,
        f"lemminflect {version('lemminflect')}": of_lemminflect,
    }


def measured(
    forms: Forms, lexicons: Mapping[str, Any], counts: Mapping[str, int], specialist: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    started = time.process_time()
    known = {word: list(forms(word)) for word in counts}
    microseconds = (time.process_time() - started) / len(counts) * 1e6
    covered = right = judged = 0
    wrong: Counter[str] = Counter()
    for lexicon in lexicons.values():
        for word, count in counts.items():
            found = next((form for form in known[word] if form in lexicon.entries), None)
            if found is None:
                continue
            covered += count
            base = itself(word)[1]
            if found not in itself(word) and base in specialist:
                judged += count
                right += count * (found in specialist[base])
                wrong[f"{word} → {found}"] += count * (found not in specialist[base])
    return {
        "coverage": round(covered / (len(lexicons) * sum(counts.values())), 4),
        "inflected words judged": judged,
        "right": round(right / judged, 4) if judged else None,
        "commonest wrong": dict(wrong.most_common(12)) if judged != right else {},
        "microseconds a word": round(microseconds, 1),
    }


def main() -> int:
    arguments = parse_with_data(data_parser("Own rules for dictionary forms beside lemmatisers."))
    examples, _ = load_instructions(InstructionSettings(source=str(arguments.data / "gsm8k" / "train.jsonl.gz")), seed=0)
    questions = [example.question for example in examples]
    counts = count_words(questions, find_names(questions))
    low = [code for code, known in languages().items() if known.tier == "low"]
    wiktionary, gatitos = arguments.data / "lexicon_wechsel_wiktionary", arguments.data / "lexicon_gatitos"
    lexicons = load_lexicons({code: str(wiktionary / f"{languages()[code].name.lower()}.txt.gz") for code in low})
    lexicons |= {
        f"{code} of GATITOS": lexicon
        for code, lexicon in load_lexicons({code: str(gatitos / f"en_{code}.tsv.gz") for code in GATITOS}).items()
    }
    specialist = specialist_lexicon()
    found = {name: measured(forms, lexicons, counts, specialist) for name, forms in systems(specialist).items()}
    for name, figures in found.items():
        print(f"{name}: {figures}")
    rivals = [figures["coverage"] for name, figures in found.items() if name.startswith(("simplemma", "lemminflect"))]
    summary = {
        "coverage beyond the better lemmatiser": found["lilift"]["coverage"] - max(rivals),
        "share of forms that are right": found["lilift"]["right"],
    }
    sizes = {"words": len(counts), "tokens": sum(counts.values()), "dictionaries": len(lexicons)}
    keep("english_forms", {"goals": GOALS, "summary": summary, "data": sizes, "systems": found})
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
