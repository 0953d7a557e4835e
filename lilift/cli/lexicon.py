"""`lilift lexicon …`: make bilingual dictionaries for stage 1 and measure them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.cli import lexicon_fetch, lexicon_induction
from lilift.cli.console import HelpFormatter
from lilift.cli.language_options import language_codes
from lilift.cli.lexicon_output import free_output, print_figures, report

if TYPE_CHECKING:
    from lilift.data.lexicons.lexicon import Lexicon


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "lexicon",
        help="fetch, import, merge, measure and induce bilingual dictionaries",
        description="Make and measure lexicons: the dictionaries with which stage 1 swaps English words. One lexicon is one "
        "Parquet file, LANGUAGE.parquet, with the source and the licence of every pair. Set `data.lexicons` in a recipe to the "
        "folder that holds them.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    lexicon_fetch.add_parser(actions)
    _add_import(actions)
    _add_merge(actions)
    _add_stats(actions)
    lexicon_induction.add_parser(actions)


def _action(actions: Any, name: str, text: str, example: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = actions.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"examples:\n  {example}",
        formatter_class=HelpFormatter,
    )
    return made


def _add_import(actions: Any) -> None:
    parser = _action(
        actions,
        "import",
        "read a published dictionary, filter it, and write it as a lexicon",
        "lilift lexicon import en-sw.txt --language sw --source wiktionary --into lexicons\n"
        "  lilift lexicon import panlex_swadesh.zip --languages mmwp-low --source panlex --into panlex\n"
        "  lilift lexicon import words.tsv --languages sw,bn --name mine --licence 'CC BY 4.0' --into mine",
    )
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="a file of MUSE, GATITOS, Wiktionary (WECHSEL, kaikki.org), AfroMT or PanLex, a TSV, a table or JSON",
    )
    parser.add_argument("--languages", "--language", required=True, metavar="A,B", help="codes or groups, such as mmwp-low")
    parser.add_argument(
        "--into", type=Path, default=Path("lexicons"), metavar="DIR", help="folder to write (default: lexicons)"
    )
    parser.add_argument("--source", choices=lexicon_fetch.SOURCES, help="publisher of the dictionary")
    parser.add_argument("--name", metavar="NAME", help="short name of the source (default: publisher or file name)")
    parser.add_argument("--licence", metavar="TEXT", help="licence of the content (default: the publisher's)")
    parser.add_argument("--most-words", type=int, default=3, metavar="N", help="longest translation in words (default: 3)")
    parser.add_argument("--keep-identical", action="store_true", help="keep translations spelled like the English word")
    parser.add_argument("--replace", action="store_true", help="replace lexicons that are already there")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run_import)


def _add_merge(actions: Any) -> None:
    parser = _action(
        actions,
        "merge",
        "merge several lexicons of one language, the most trusted first",
        "lilift lexicon merge wiktionary/sw.parquet afromt/sw.parquet --output lexicons/sw.parquet",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="LEXICON", help="lexicons to merge, the most trusted first")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the lexicon to write, LANGUAGE.parquet")
    parser.add_argument(
        "--keep",
        choices=("first", "all"),
        default="first",
        help="first: take a word's translations from the first lexicon that has the word (default); all: take them from all "
        "lexicons with equal weight",
    )
    parser.add_argument("--replace", action="store_true", help="replace the output if it is already there")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run_merge)


def _add_stats(actions: Any) -> None:
    parser = _action(
        actions,
        "stats",
        "show size, origin and scripts of lexicons, and how much of your text they cover",
        "lilift lexicon stats lexicons/sw.parquet --text train.jsonl\n"
        "  lilift lexicon stats lexicons --languages mmwp-low --text train.jsonl",
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="a lexicon, a dictionary file, or a folder of them")
    parser.add_argument("--languages", "--language", metavar="A,B", help="codes or groups (default: from PATH)")
    parser.add_argument("--text", metavar="SOURCE", help="training text: instructions as in a recipe, or a .txt file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run_stats)


def run_import(arguments: argparse.Namespace) -> int:
    from lilift.data.lexicons.lexicon import NOT_STATED
    from lilift.data.lexicons.lexicon_folder import import_lexicon
    from lilift.data.lexicons.lexicon_table import SUFFIX, write_lexicon
    from lilift.data.lexicons.pair_filters import Filters
    from lilift.data.lexicons.publishers import PUBLISHERS
    from lilift.recipe.errors import RecipeError

    if arguments.most_words < 1:
        raise RecipeError(f"--most-words {arguments.most_words} would drop every translation", remedy="give 1 or more")
    publisher = PUBLISHERS.get(arguments.source or "")
    licence = arguments.licence or (publisher.licence if publisher else NOT_STATED)
    filters = Filters(arguments.most_words, arguments.keep_identical)
    codes = language_codes(arguments.languages)
    outputs = {code: free_output(arguments.into / f"{code}{SUFFIX}", arguments.replace) for code in codes}
    made: list[Lexicon] = []
    for code, output in outputs.items():
        lexicon = import_lexicon(
            arguments.file,
            code,
            name=arguments.name or arguments.source,
            licence=licence,
            origin=arguments.file.name,
            filters=filters,
        )
        write_lexicon(lexicon, output)
        made.append(lexicon)
    report(made, arguments.json)
    return 0


def run_merge(arguments: argparse.Namespace) -> int:
    from lilift.data.lexicons.lexicon_merge import merge_lexicons, shadowed_pairs
    from lilift.data.lexicons.lexicon_table import read_lexicon, write_lexicon

    output = free_output(arguments.output, arguments.replace)
    lexicons = [read_lexicon(path) for path in arguments.files]
    merged = merge_lexicons(lexicons, arguments.keep)
    write_lexicon(merged, output)
    report([merged], arguments.json)
    if arguments.keep == "first" and not arguments.json:
        for path, lost in zip(arguments.files, shadowed_pairs(lexicons), strict=True):
            if lost.pairs:
                print(
                    f"  {path}: {lost.pairs:,} pairs left out, because an earlier lexicon has the word "
                    f"(--keep all keeps them), such as: {'; '.join(lost.examples)}"
                )
    return 0


def run_stats(arguments: argparse.Namespace) -> int:
    from lilift.data.lexicons.coverage import lexicon_stats, words_of
    from lilift.data.lexicons.lexicon_folder import languages_in, load_lexicons

    codes = language_codes(arguments.languages) if arguments.languages else languages_in(arguments.path)
    lexicons = load_lexicons({code: str(arguments.path) for code in codes})
    counts = words_of(arguments.text) if arguments.text else None
    found = [lexicon_stats(lexicon, counts) for lexicon in lexicons.values()]
    print_figures(found, arguments.json)
    return 0
