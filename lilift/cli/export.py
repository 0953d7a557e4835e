"""`lilift export RUN`: merged weights to take away."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "export",
        help="merged weights to take away",
        description="Merge a run's adapter into its LLM and write Hugging Face weights, the tokenizer's files byte for byte, "
        "the alignment layer, and lilift.json, which says how they belong together.",
        epilog="example:\n  lilift export runs/tiny-cpu --output my-model --merge-base original",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a run folder, such as runs/tiny-cpu")
    parser.add_argument("--to", choices=("hf",), default="hf", help="hf: safetensors")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to write (default: RUN/export)")
    parser.add_argument(
        "--merge-base",
        choices=("dequantised", "original"),
        help="weights to merge into: those the adapter was trained against, or the original ones (default: the recipe's)",
    )
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="precision (default: the recipe's)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.cli.console import print_json
    from lilift.export.bundle import RunParts, export_bundle
    from lilift.phases.systems import recipe_of

    recipe = recipe_of(arguments.run_folder)
    changes = {"merge_base": arguments.merge_base, "dtype": arguments.dtype}
    settings = recipe.export.model_copy(update={name: value for name, value in changes.items() if value})
    output = arguments.output or arguments.run_folder / "export"
    report = export_bundle(recipe, settings, RunParts.of(arguments.run_folder), output)
    if arguments.json:
        print_json(report.as_dict() | {"folder": str(output)})
    else:
        print(f"{report.line()}\nwritten to {output}")
    return 0
