"""`lilift lexicon fetch`: download published dictionaries and make lexicons from them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.cli.console import HelpFormatter
from lilift.cli.language_options import language_codes
from lilift.cli.lexicon_output import report
from lilift.recipe.terminal import is_terminal

if TYPE_CHECKING:
    from lilift.data.lexicons.lexicon import Lexicon
    from lilift.data.lexicons.publishers import Publisher

SOURCES = ("muse", "wiktionary", "gatitos", "afromt", "panlex")


def add_parser(actions: Any) -> None:
    parser = actions.add_parser(
        "fetch",
        help="download published dictionaries and make lexicons from them",
        description="Download dictionaries from their publishers, import them, and write one lexicon for each language. If "
        "several sources have a word, lilift takes the source that you name first. lilift shows the licences before it "
        "downloads anything. It keeps the published files in DIR/downloads and downloads none of them twice.",
        epilog="examples:\n  lilift lexicon fetch wiktionary,muse,panlex --languages mmwp-low --into lexicons\n"
        "  lilift lexicon fetch gatitos --languages om,qu,ln --yes",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("sources", metavar="SOURCES", help=f"sources, the most trusted first: {', '.join(SOURCES)}")
    parser.add_argument("--languages", "--language", required=True, metavar="A,B", help="codes or groups, such as mmwp-low")
    parser.add_argument(
        "--into", type=Path, default=Path("lexicons"), metavar="DIR", help="folder to write (default: lexicons)"
    )
    parser.add_argument("--yes", action="store_true", help="accept the licences without a question")
    parser.add_argument("--replace", action="store_true", help="replace lexicons that are already there")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.data.languages import language
    from lilift.data.lexicons.lexicon_merge import merge_lexicons
    from lilift.data.lexicons.lexicon_table import SUFFIX, write_lexicon
    from lilift.recipe.errors import DataError

    publishers = _publishers(arguments.sources)
    codes = [language(code).code for code in language_codes(arguments.languages)]
    outputs = {code: arguments.into / f"{code}{SUFFIX}" for code in codes}
    wanted = [code for code in codes if arguments.replace or not outputs[code].exists()]
    for code in codes:
        if code not in wanted:
            print(f"{code}: {outputs[code]} is already there; give --replace to write it again", file=sys.stderr)
    if wanted:
        _require_something(publishers, wanted)
        _say_gaps(publishers, wanted)
        _agree(publishers, arguments.yes)
    made: list[Lexicon] = []
    for code in wanted:
        found = [
            lexicon
            for publisher in publishers
            if (lexicon := _lexicon(publisher, code, arguments.into / "downloads")) is not None
        ]
        if found:
            merged = merge_lexicons(found)
            write_lexicon(merged, outputs[code])
            made.append(merged)
    if made or arguments.json:
        report(made, arguments.json)
    without = [code for code in wanted if code not in {lexicon.language.code for lexicon in made}]
    if without:
        others = " (lilift wrote the other languages)" if made else ""
        raise DataError(
            f"the sources have no usable pair for {', '.join(without)}{others}",
            where="--languages",
            remedy="name other sources, or see `lilift lexicon induce --help`",
        )
    return 0


def _publishers(text: str) -> list[Publisher]:
    from lilift.data.lexicons.publishers import PUBLISHERS
    from lilift.recipe.errors import RecipeError

    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in PUBLISHERS:
            raise RecipeError(f"lilift does not know the source {name!r}", remedy=f"choose from {', '.join(PUBLISHERS)}")
    if not names:
        raise RecipeError("SOURCES is empty", remedy=f"choose from {', '.join(PUBLISHERS)}")
    return [PUBLISHERS[name] for name in names]


def _require_something(publishers: list[Publisher], codes: list[str]) -> None:
    """Refuse languages that none of the sources has, before any download."""
    from lilift.data.lexicons.publishers import download_for, sources_for
    from lilift.recipe.errors import DataError

    without = [code for code in codes if not any(download_for(publisher.name, code) for publisher in publishers)]
    if without:
        others = list(dict.fromkeys(name for code in without for name in sources_for(code)))
        raise DataError(
            f"no dictionary for {', '.join(without)} in {', '.join(publisher.name for publisher in publishers)}",
            where="--languages",
            remedy=f"add {', '.join(others)}" if others else "see `lilift lexicon induce --help`",
        )


def _say_gaps(publishers: list[Publisher], codes: list[str]) -> None:
    from lilift.data.lexicons.publishers import download_for

    for publisher in publishers:
        without = [code for code in codes if download_for(publisher.name, code) is None]
        if without:
            print(f"{publisher.name} has no dictionary for {', '.join(without)}", file=sys.stderr)


def _agree(publishers: list[Publisher], yes: bool) -> None:
    from lilift.recipe.errors import RecipeError

    for publisher in publishers:
        print(f"{publisher.name}: {publisher.title}", file=sys.stderr)
        print(f"  licence: {publisher.licence}; {publisher.note}; {publisher.page}", file=sys.stderr)
    if yes:
        return
    if not is_terminal(sys.stdin):
        raise RecipeError("without a terminal you cannot accept the licences above", remedy="give --yes to accept them")
    print("Accept the licences and download? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise RecipeError("you did not accept the licences, so lilift downloaded nothing", remedy="answer y, or give --yes")


def _lexicon(publisher: Publisher, code: str, folder: Path) -> Lexicon | None:
    """A publisher's lexicon of a language. None if the publisher has none, or (with a printed line) none that is usable."""
    from lilift.data.lexicons.lexicon_folder import import_lexicon
    from lilift.data.lexicons.published_dictionaries import fetch
    from lilift.data.lexicons.publishers import download_for
    from lilift.recipe.errors import DataError

    download = download_for(publisher.name, code)
    if download is None:
        return None
    path = fetch(publisher, download, folder)
    try:
        return import_lexicon(
            path, code, name=publisher.name, licence=publisher.licence, origin=publisher.files + download.file
        )
    except DataError as error:
        print(f"{code}: {publisher.name}: {error.what}", file=sys.stderr)
        return None
