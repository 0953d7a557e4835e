"""Count how many translations public dictionaries give for 47 languages, and how many of GSM8K's words they cover.

LILIFT_SHARED_DATA=FOLDER python -m benchmarks lexicon_coverage --check

The languages are those of MMWP beside English. The script also counts the pairs that lilift leaves out, by reason. The goal is
a lexicon for each language that covers half of the words. FOLDER holds lexicon_muse, lexicon_gatitos,
lexicon_wechsel_wiktionary, lexicon_afromt, lexicon_frekwencja_5050 and lexicon_panlex_swadesh as their publishers made them,
and gsm8k/train.jsonl.gz. Writes benchmarks/results/lexicon_coverage.json and docs/lexicon_coverage.md.
"""

from __future__ import annotations

import argparse
import gzip
import os
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.shared.result_files import keep, report_goals
from lilift.data.languages import language
from lilift.data.lexicons.coverage import words_of
from lilift.data.lexicons.lexicon import Lexicon
from lilift.data.lexicons.lexicon_folder import import_lexicon
from lilift.data.lexicons.lexicon_merge import merge_lexicons
from lilift.data.lexicons.publishers import PUBLISHERS
from lilift.recipe.errors import DataError
from lilift.recipe.language_groups import LANGUAGE_GROUPS

GOALS = {"languages with a lexicon": ("at least", 47), "least coverage": ("at least", 0.5)}
TABLE = Path(__file__).parents[2] / "docs" / "lexicon_coverage.md"
SHORT_REASONS = {"several English words": "English phrase", "not an English word": "not English", "too many words": "long"}
REASONS = ("identical", "wrong script", "several English words", "not an English word", "too many words", "empty")
PANLEX = "lexicon_panlex_swadesh/panlex_swadesh_mmwp_subset.zip"
FREQUENT = "lexicon_frekwencja_5050/common_words_48langs.tsv.gz"


def candidates(code: str) -> Iterator[tuple[str, str]]:
    """Source and file of every dictionary that a language may have, the most reliable first."""
    wiktionary = {"lb": "luxembourgish"}.get(code, language(code).name.lower())
    yield "gatitos", f"lexicon_gatitos/en_{code}.tsv.gz"
    yield "muse", f"lexicon_muse/en-{code}.txt.gz"
    yield "wiktionary", f"lexicon_wechsel_wiktionary/{wiktionary}.txt.gz"
    yield "5,050 words", FREQUENT
    yield "panlex", PANLEX
    yield "afromt", f"lexicon_afromt/en-{code}.txt.gz"


def lexicons_of(code: str, data: Path) -> list[Lexicon]:
    found = []
    for name, file in candidates(code):
        if not (data / file).exists():
            continue
        publisher = PUBLISHERS.get(name)
        licence = publisher.licence if publisher else "not stated"
        try:
            found.append(import_lexicon(data / file, code, name=name, licence=licence, origin=Path(file).name))
        except DataError as error:
            if file != PANLEX:  # which lacks two languages, and has two in Latin letters only
                raise
            print(f"{code}: {error}", file=sys.stderr)
    return found


def measured(code: str, found: list[Lexicon], counts: Mapping[str, int]) -> dict[str, Any]:
    merged = merge_lexicons(found)
    dropped: Counter[str] = Counter()
    for lexicon in found:
        dropped.update(lexicon.dropped)
    return {
        "language": code,
        "tier": language(code).tier,
        "words": len(merged.entries),
        "pairs": merged.pairs,
        "dropped": dict(dropped.most_common()),
        "coverage": round(merged.coverage(counts).share, 4),
        "sources": {
            lexicon.sources[0].name: {
                "pairs": lexicon.pairs,
                "dropped": lexicon.dropped,
                "coverage": round(lexicon.coverage(counts).share, 4),
            }
            for lexicon in found
        },
    }


def write_table(rows: list[dict[str, Any]], tokens: int) -> None:
    lines = [
        "# What public dictionaries give for MMWP's languages",
        "",
        f"`python -m benchmarks lexicon_coverage` made this table. Coverage is the share of the {tokens:,} words of GSM8K's",
        "training questions (numbers and names not counted) that the merged lexicon translates; in brackets, what each source",
        "covers alone. Dictionaries are filtered as `lilift lexicon import` does, and merged so that a word's",
        "translations come from the first source that has it. A machine translated MMWP's 47 other languages out of",
        "English, which needs no lexicon.",
        "",
        "| | tier | words | pairs | coverage | " + " | ".join(SHORT_REASONS.get(name, name) for name in REASONS) + " | other |",
        "|---|---|--:|--:|---|" + "--:|" * (len(REASONS) + 1),
    ]
    for row in rows:
        sources = ", ".join(f"{name} {found['coverage']:.0%}" for name, found in row["sources"].items())
        dropped = row["dropped"]
        other = sum(dropped.values()) - sum(dropped.get(name, 0) for name in REASONS)
        figures = " | ".join(f"{dropped.get(name, 0):,}" for name in REASONS)
        name = f"{language(row['language']).name} `{row['language']}`"
        lines.append(
            f"| {name} | {row['tier']} | {row['words']:,} | {row['pairs']:,} | {row['coverage']:.1%} ({sources}) "
            f"| {figures} | {other:,} |"
        )
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Count the translations that public dictionaries give for MMWP's languages.")
    folder = Path(os.environ.get("LILIFT_SHARED_DATA", "no-data"))
    parser.add_argument("--data", type=Path, default=folder, help="folder with the dictionaries")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        parser.error("name the folder with the dictionaries: --data FOLDER or LILIFT_SHARED_DATA")
    with tempfile.TemporaryDirectory() as scratch:
        text = Path(scratch) / "train.jsonl"
        text.write_bytes(gzip.decompress((arguments.data / "gsm8k" / "train.jsonl.gz").read_bytes()))
        counts = words_of(str(text))
    order = [code for tier in ("low", "medium", "high") for code in LANGUAGE_GROUPS[f"mmwp-{tier}"]]
    rows = [measured(code, lexicons_of(code, arguments.data), counts) for code in order]
    write_table(rows, sum(counts.values()))
    shares = [row["coverage"] for row in rows]
    summary = {"languages with a lexicon": len(rows), "least coverage": min(shares), "median": statistics.median(shares)}
    keep("lexicon_coverage", {"goals": GOALS, "summary": summary, "words": sum(counts.values()), "languages": rows})
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
