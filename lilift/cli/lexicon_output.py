"""Helpers of the `lilift lexicon` actions: they check output paths, print warnings, and print a lexicon's figures."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lilift.cli.console import print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lilift.data.lexicons.coverage import LexiconStats
    from lilift.data.lexicons.lexicon import Lexicon


def free_output(path: Path, replace: bool) -> Path:
    """The path, after a check that lilift may write a lexicon there."""
    from lilift.data.lexicons.lexicon_table import SUFFIX
    from lilift.recipe.errors import RecipeError

    if path.suffix != SUFFIX:
        raise RecipeError(f"--output {path} does not end in {SUFFIX}", remedy=f"name it LANGUAGE{SUFFIX}")
    if path.exists() and not replace:
        raise RecipeError("this lexicon is already there", where=path, remedy="give --replace to write it again")
    return path


def report(lexicons: Sequence[Lexicon], as_json: bool) -> None:
    """Print how many words lexicons have, where they come from, and what was left out."""
    from lilift.data.lexicons.coverage import lexicon_stats

    print_figures([lexicon_stats(lexicon) for lexicon in lexicons], as_json)


def warn(text: str) -> None:
    """Print a warning, to standard error so that it stands beside JSON too."""
    print(f"warning: {text}", file=sys.stderr)


def print_figures(found: Sequence[LexiconStats], as_json: bool) -> None:
    """Print the figures of one lexicon in full, or of several lexicons as a table."""
    for stats in found:
        for text in stats.warnings():
            warn(text)
    if as_json:
        print_json([stats.as_dict() for stats in found])
    elif len(found) == 1:
        _print_one(found[0])
    else:
        _print_table(found)


def _print_one(stats: LexiconStats) -> None:
    from lilift.data.languages import language

    print(f"{language(stats.code).name} ({stats.code}): {stats.words:,} English words, {stats.pairs:,} pairs")
    for source in stats.sources:
        dropped = ", ".join(f"{reason} {count:,}" for reason, count in source.dropped.items()) or "nothing"
        print(f"  {source.name}: {source.location}; licence: {source.licence}")
        print(f"    {source.kept:,} pairs kept of {source.read:,} read; left out: {dropped}")
        for reason, examples in source.examples.items():
            print(f"      {reason}, such as: {'; '.join(examples)}")
        if source.skipped:
            print(f"    lines that are no pairs: {', '.join(f'{kind} {count:,}' for kind, count in source.skipped.items())}")
        if source.mended:
            print(f"    look-alike letters of another script replaced in {source.mended:,} pairs")
    print(f"  scripts: {', '.join(f'{script} {count:,}' for script, count in stats.scripts.items())}")
    print(f"  translations of several words: {stats.several_words:,}")
    if stats.coverage:
        print(f"  covers {stats.coverage.share:.1%} of the text's {stats.coverage.tokens:,} words (without numbers and names)")
        missing = ", ".join(f"{word} {count:,}" for word, count in stats.uncovered.items())
        print(f"  most frequent words without a translation: {missing or 'none'}")


def _print_table(found: Sequence[LexiconStats]) -> None:
    rows = [
        (
            stats.code,
            f"{stats.words:,}",
            f"{stats.pairs:,}",
            f"{sum(sum(source.dropped.values()) for source in stats.sources):,}",
            f"{stats.coverage.share:.1%}" if stats.coverage else "–",
            ", ".join(f"{source.name} ({source.licence})" for source in stats.sources),
        )
        for stats in found
    ]
    print_table(None, ("", "words", "pairs", "left out", "coverage", "sources"), rows, right=(1, 2, 3, 4), prose=(5,))
