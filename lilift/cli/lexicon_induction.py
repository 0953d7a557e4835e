"""`lilift lexicon induce`: make a lexicon from two monolingual sets of word vectors."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.cli.console import HelpFormatter, print_json
from lilift.cli.language_options import language_code
from lilift.cli.lexicon_output import free_output, warn
from lilift.cli.number_options import require_at_least_one

if TYPE_CHECKING:
    from lilift.data.induction.word_vectors import Embeddings

STARTS = ("identical", "romanised", "numerals", "similarity", "adversarial", "aligned")


def add_parser(actions: Any) -> None:
    parser = actions.add_parser(
        "induce",
        help="make a lexicon from two sets of word vectors, without a dictionary",
        description="Make a lexicon from two monolingual sets of word vectors, without a dictionary. Like unsupervised MUSE, "
        "lilift rotates the English vectors onto the foreign ones, and keeps the pairs of words that are each other's nearest "
        "neighbour. Good vectors need hundreds of megabytes of text. A small corpus gives a poor lexicon with any method.",
        epilog="examples:\n  lilift lexicon induce --english cc.en.300.vec --foreign cc.sw.300.vec --language sw\n"
        "  lilift lexicon induce --english wiki.en.vec --train-embeddings sw.txt --language sw --gold en-sw.txt\n"
        "  lilift lexicon induce --english cc.en.300.vec --foreign cc.bn.300.vec --language bn --start romanised",
        formatter_class=HelpFormatter,
    )
    english = parser.add_mutually_exclusive_group(required=True)
    english.add_argument("--english", type=Path, metavar="FILE", help="English vectors: .vec, .bin (fastText) or word2vec")
    english.add_argument("--train-english-embeddings", type=Path, metavar="TEXT", help="English text to train vectors on first")
    foreign = parser.add_mutually_exclusive_group(required=True)
    foreign.add_argument("--foreign", type=Path, metavar="FILE", help="vectors of the language; same formats")
    foreign.add_argument("--train-embeddings", type=Path, metavar="TEXT", help="text to train vectors on first (needs gensim)")
    parser.add_argument("--language", required=True, metavar="CODE", help="code of the language, such as sw")
    parser.add_argument("--output", type=Path, metavar="FILE", help="file to write (default: lexicons/CODE.parquet)")
    parser.add_argument(
        "--start",
        action="append",
        choices=STARTS,
        help="how the rotation starts; repeat the option to try several and keep the best (default: identical and "
        "similarity). romanised: words that are alike in Latin letters, for languages with another script; needs uroman, and "
        "takes a minute. adversarial: as in MUSE, takes minutes. aligned: the vectors are already in one space, as VecMap "
        "writes them and fastText publishes some",
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="attempts of the adversarial start (default: 3)")
    parser.add_argument(
        "--limit", type=int, default=200_000, metavar="N", help="read the N most frequent words (default: 200000)"
    )
    parser.add_argument(
        "--frequent", type=int, default=20_000, metavar="N", help="align by the N most frequent (default: 20000)"
    )
    parser.add_argument("--dimension", type=int, default=100, metavar="N", help="dimension of trained vectors (default: 100)")
    parser.add_argument("--least-count", type=int, default=5, metavar="N", help="train on words with N occurrences or more (5)")
    parser.add_argument("--gold", type=Path, metavar="FILE", help="a dictionary to measure precision at 1 and 5")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute (default: cpu)")
    parser.add_argument("--replace", action="store_true", help="replace the output if it is already there")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.data.induction.romanisation import uroman_for
    from lilift.data.induction.vector_alignment import InductionSettings, align, induced_lexicon, precision
    from lilift.data.languages import language
    from lilift.data.lexicons.lexicon_table import SUFFIX, write_lexicon

    require_at_least_one(arguments, "seeds", "limit", "frequent", "dimension", "least_count")
    _require_device(arguments.device)
    code = language(language_code(arguments.language)).code
    output = free_output(arguments.output or Path("lexicons") / f"{code}{SUFFIX}", arguments.replace)

    gold = _gold(arguments.gold, code) if arguments.gold else None

    def say(line: str) -> None:
        if not arguments.json:
            print(line, flush=True)

    starts = tuple(dict.fromkeys(arguments.start or ("identical", "similarity")))
    romanise = uroman_for(code) if "romanised" in starts else None
    english = _vectors(arguments.english, arguments.train_english_embeddings, "en", arguments)
    foreign = _vectors(arguments.foreign, arguments.train_embeddings, code, arguments)
    for text in (*english.warnings(), *foreign.warnings()):
        warn(text)
    name = language(code).name
    say(f"{len(english.words):,} English words, {len(foreign.words):,} {name} words, {english.dimension} dimensions")
    settings = InductionSettings(starts, arguments.seeds, arguments.frequent, romanise)
    alignment = align(english, foreign, settings, device=arguments.device, say=say)
    lexicon = induced_lexicon(alignment, english, foreign, code)
    write_lexicon(lexicon, output)
    measured = precision(alignment, english, foreign, gold) if gold else None
    if arguments.json:
        print_json(
            {
                "lexicon": str(output),
                "pairs": lexicon.pairs,
                "attempts": [vars(attempt) for attempt in alignment.attempts],
                "agreement": alignment.agreement,
                "precision": measured and {"words": measured[0], **{str(count): share for count, share in measured[1].items()}},
            }
        )
        return 0
    _print_agreement(alignment.agreement)
    print(f"{lexicon.pairs:,} pairs of words that are each other's nearest neighbour: {output}")
    if measured:
        words, shares = measured
        figures = ", ".join(f"P@{count} {share:.1%}" for count, share in shares.items())
        print(f"precision on {words:,} words of {arguments.gold.name}: {figures}")
    return 0


def _vectors(path: Path | None, text: Path | None, code: str, arguments: argparse.Namespace) -> Embeddings:
    from lilift.data.induction.vector_training import train_embeddings
    from lilift.data.induction.word_vectors import read_embeddings
    from lilift.data.languages import language

    if path is not None:
        return read_embeddings(path, arguments.limit)
    assert text is not None
    return train_embeddings(text, language(code), dimension=arguments.dimension, least_count=arguments.least_count)


def _gold(path: Path, code: str) -> dict[str, set[str]]:
    from lilift.data.lexicons.lexicon_folder import load_lexicon

    return {word: {item.text for item in found} for word, found in load_lexicon(str(path), code).entries.items()}


def _print_agreement(share: float | None) -> None:
    if share is None:
        return
    print(f"the best attempt and another one agree on {share:.1%} of the words", end="")
    print("" if share > 0.5 else ": the lexicon is a guess; read it before you train on it, or add more --start options")


def _require_device(device: str) -> None:
    import torch

    from lilift.recipe.errors import EnvironmentUnfit

    if device == "cuda" and not torch.cuda.is_available():
        raise EnvironmentUnfit("--device cuda: lilift found no CUDA GPU", remedy="leave --device out")
