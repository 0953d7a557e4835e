"""`lilift export RUN`: the trained model as files to take away."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lilift.recipe.schema import ExportSettings


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "export",
        help="the trained model as files: Hugging Face, GGUF",
        description="Merge a run's adapter into its LLM and write it down for other programs: Hugging Face weights, GGUF files "
        "for llama.cpp, or both, with encoder and alignment layer beside them and lilift.json, which says how they belong "
        "together.",
        epilog="examples:\n  lilift export runs/tiny-cpu --to gguf --quant q8_0,q4_k_m --output my-model\n"
        "  lilift export runs/tiny-cpu --to all --merge-base original",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a run folder, such as runs/tiny-cpu")
    parser.add_argument("--to", choices=("hf", "gguf", "all"), help="what to write (default: the recipe's)")
    parser.add_argument(
        "--quant", metavar="TYPE[,TYPE]", help="GGUF files of the LLM, e.g. f16,q8_0,q4_0,q4_k_m (default: the recipe's)"
    )
    parser.add_argument(
        "--encoder-quant", choices=("f32", "bf16", "f16", "q8_0"), help="GGUF file of the encoder (default: as in training)"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to write (default: RUN/export)")
    parser.add_argument(
        "--merge-base",
        choices=("dequantised", "original"),
        help="weights to merge into: those the adapter was trained against, or the original ones (default: the recipe's)",
    )
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="precision of hf/ (default: the recipe's)")
    parser.add_argument("--no-drift", action="store_true", help="do not compare the result with the live model")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.cli.console import print_json
    from lilift.export.bundle import export_bundle
    from lilift.export.drift import Drift
    from lilift.export.job import RunParts
    from lilift.memory.device import device_for
    from lilift.phases.answering.systems import recipe_of
    from lilift.phases.export_check import drift_of_export
    from lilift.recipe.errors import RecipeError

    recipe = recipe_of(arguments.run_folder)
    if not recipe.can_be_exported:
        raise RecipeError(
            "this run has not trained both an alignment layer and an adapter, and only runs that have are exported",
            where=arguments.run_folder,
        )
    settings = _settings(arguments, recipe.export)
    output = arguments.output or arguments.run_folder / "export"
    report = export_bundle(recipe, settings, RunParts.of(arguments.run_folder), output)
    if not arguments.json:
        print("\n".join([*report.lines(), f"written to {output}"]), flush=True)
    what, drift = "", list[Drift]()
    if settings.drift:
        device = device_for(recipe.card).torch_device
        what, drift = drift_of_export(recipe, settings, arguments.run_folder, output, device=device, note=_note)
    if arguments.json:
        found = {"drift": [each.as_dict() for each in drift], "drift measured on": what} if drift else {}
        print_json(report.as_dict() | {"folder": str(output)} | found)
    elif drift:
        print("\n".join([f"measured on {what}:", *(each.line() for each in drift)]))
    return 0


def _note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _settings(arguments: argparse.Namespace, of_recipe: ExportSettings) -> ExportSettings:
    """The recipe's settings with what the command line says."""
    from pydantic import ValidationError

    from lilift.recipe.errors import RecipeError
    from lilift.recipe.schema import ExportSettings

    formats = {None: of_recipe.formats or ("hf",), "hf": ("hf",), "gguf": ("gguf",), "all": ("hf", "gguf")}[arguments.to]
    quantisations = arguments.quant.lower().replace(" ", "").split(",") if arguments.quant else of_recipe.quantisations
    changes = {
        "merge_base": arguments.merge_base,
        "dtype": arguments.dtype,
        "encoder_quantisation": arguments.encoder_quant,
        "formats": formats,
        "drift": of_recipe.drift and not arguments.no_drift,
        "quantisations": tuple(dict.fromkeys(quantisations)),
    }
    try:
        return ExportSettings(**of_recipe.model_dump() | {name: value for name, value in changes.items() if value is not None})
    except ValidationError as error:
        problem = error.errors()[0]
        raise RecipeError(
            f"{problem['input']!r} is no type of GGUF file; known are {problem['msg'].removeprefix('Input should be ')}",
            where="--quant",
        ) from None
