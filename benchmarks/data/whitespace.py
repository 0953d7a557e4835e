"""Count the line breaks, tabs and runs of spaces that a T5 tokenizer drops from GSM8K's and the benchmarks' questions.

LILIFT_SHARED_DATA=FOLDER python -m benchmarks whitespace --check

FOLDER holds gsm8k/train.jsonl.gz and the folders mmwp, mgsm, msvamp and xnli as their authors made them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.shared.result_files import data_parser, keep, parse_with_data, report_goals
from lilift.data.languages import languages
from lilift.data.texts.instructions import load_instructions
from lilift.evaluate.benchmarks.benchmark import load_benchmark
from lilift.recipe.errors import DataError
from lilift.recipe.schema import BenchmarkSettings, InstructionSettings

GOALS = {"questions with line breaks or tabs": ("at most", 0.0)}
WORD_PROBLEMS = ("mmwp", "mgsm", "msvamp")


def questions_of(name: str, data: Path) -> Iterator[str]:
    """A benchmark's questions in every language that it has."""
    for code in languages():
        try:
            found = load_benchmark(BenchmarkSettings(name=name, path=str(data / name)), code, seed=0)
        except DataError:  # not one of its languages
            continue
        yield from (question.text for question in found.questions)


def counted(texts: Iterable[str]) -> dict[str, int]:
    stripped = [text.strip() for text in texts]
    return {
        "questions": len(stripped),
        "with line breaks or tabs": sum(re.search(r"[\n\t\x0b\x0c\r]", text) is not None for text in stripped),
        "with runs of spaces": sum("  " in text for text in stripped),
    }


def main() -> int:
    arguments = parse_with_data(data_parser("White space that a T5 tokenizer drops."))
    examples, _ = load_instructions(InstructionSettings(source=str(arguments.data / "gsm8k" / "train.jsonl.gz")), seed=0)
    found = {"gsm8k": counted(example.question for example in examples)}
    found |= {name: counted(questions_of(name, arguments.data)) for name in (*WORD_PROBLEMS, "xnli")}
    for name, counts in found.items():
        print(f"{name}: {counts}")
    problems = ("gsm8k", *WORD_PROBLEMS)
    summary = {"questions with line breaks or tabs": float(sum(found[name]["with line breaks or tabs"] for name in problems))}
    keep("whitespace", {"goals": GOALS, "summary": summary, "texts": found})
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
