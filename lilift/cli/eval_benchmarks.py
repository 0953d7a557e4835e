"""`lilift eval benchmarks`: list the benchmarks with their languages, answers, translators, licences and how to get them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from lilift.cli.console import HelpFormatter, print_json, print_table

if TYPE_CHECKING:
    from lilift.evaluate.benchmarks.benchmark_sources import BenchmarkSource


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "eval benchmarks",
        help="list the benchmarks and how to get them",
        description="List the benchmarks: what they ask, how many languages and rows they have, who translated them, their "
        "licence and how to get them. Benchmarks that people translated come first, because a machine's translation may "
        "change what a question asks.",
        epilog="examples:\n  lilift eval benchmarks\n  lilift eval benchmarks --languages   # the codes of every language",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--languages", action="store_true", help="also list the languages of each benchmark")
    parser.add_argument("--json", action="store_true", help="print JSON, with the languages")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    found = _benchmarks()
    if arguments.json:
        print_json(found)
        return 0
    rows = [
        (
            one["name"],
            one["asks"],
            str(len(one["languages"])),
            f"{one['rows']:,}" if one["rows"] else "any",
            one["answer"],
            one["translated_by"],
            one["licence"],
            " ".join(one["get"]) or "–",
        )
        for one in found
    ]
    columns = ("name", "questions", "languages", "rows each", "answer", "translated by", "licence", "get")
    print_table("benchmarks", columns, rows, right=(2, 3), prose=(1, 5, 6, 7))
    print("get: `fetch` is `lilift eval fetch NAME`, `hub` is `--source hub`, `path` is `--path` with the authors' files")
    print("questions of your own: `--benchmark ./problems.csv` (docs/your-benchmark.md)")
    if arguments.languages:
        for one in found:
            print(f"\n{one['name']}: {', '.join(one['languages'])}")
    return 0


def _benchmarks() -> list[dict[str, Any]]:
    from lilift.data.world import WORLD_LANGUAGES
    from lilift.evaluate.benchmarks.benchmark_sources import SOURCES, TRANSLATORS

    listed = [_described(name, source) for name, source in SOURCES.items()]
    listed.append(
        {
            "name": "world",
            "asks": "math word problems",
            "languages": {code: code for code in ("en", *WORLD_LANGUAGES)},
            "rows": None,
            "answer": "number",
            "labels": [],
            "translated_by": TRANSLATORS[-1],
            "licence": "lilift's own",
            "hub": None,
            "get": [],
        }
    )
    return sorted(listed, key=lambda one: TRANSLATORS.index(one["translated_by"]))


def _described(name: str, source: BenchmarkSource) -> dict[str, Any]:
    from lilift.evaluate.benchmarks.benchmark_fetch import PUBLIC

    ways = {"fetch": name in PUBLIC, "hub": source.hub is not None, "path": True}
    return {
        "name": name,
        "asks": source.asks,
        "languages": dict(source.languages),
        "rows": source.rows,
        "answer": source.answer,
        "labels": list(source.labels),
        "translated_by": source.translated_by,
        "licence": source.licence,
        "hub": source.hub.name if source.hub else None,
        "get": [way for way, known in ways.items() if known],
    }
