"""`lilift export RUN`: write the trained model as files for other programs."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.cli.console import HelpFormatter, print_json
from lilift.cli.run_output import print_commands
from lilift.recipe.terminal import is_terminal

if TYPE_CHECKING:
    from lilift.phases.export_check import DriftReport
    from lilift.recipe.schema import ExportSettings


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "export",
        help="write the trained model for Hugging Face tools or llama.cpp",
        description="Merge a run's adapter into its LLM and write the result for other programs: Hugging Face weights, GGUF "
        "files for llama.cpp, or both. The folder also holds the encoder, the alignment layer, and lilift.json, which "
        "describes how the parts work together.",
        epilog="examples:\n  lilift export runs/tiny-cpu --to gguf --quant q8_0,q4_k_m --output my-model\n"
        "  lilift export runs/tiny-cpu --to all --merge-base original\n"
        "  lilift export my-model --push my-name/my-model        # sends a finished export as it is",
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "run_folder", type=Path, metavar="RUN", help="a run folder, such as runs/tiny-cpu; with --push also an export"
    )
    parser.add_argument("--to", choices=("hf", "gguf", "all"), help="formats to write (default: as in the recipe)")
    parser.add_argument(
        "--quant", metavar="TYPE[,TYPE]", help="types of the LLM's GGUF files, e.g. f16,q8_0,q4_k_m (default: as in the recipe)"
    )
    parser.add_argument(
        "--encoder-quant",
        choices=("f32", "bf16", "f16", "q8_0"),
        help="type of the encoder's GGUF file (default: as in training)",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder to write (default: RUN/export)")
    parser.add_argument(
        "--merge-base",
        choices=("dequantised", "original"),
        help="weights to merge the adapter into: the 4-bit ones of training, dequantised, or the original ones (default: as in "
        "the recipe)",
    )
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16", "float16"), help="precision of hf/ (default: as in the recipe)"
    )
    parser.add_argument("--no-drift", action="store_true", help="do not compare the export with the model of the run")
    parser.add_argument(
        "--push",
        metavar="OWNER/NAME",
        help="send the export to this repository on the Hugging Face hub; lilift lists the files first and asks you",
    )
    parser.add_argument("--public", action="store_true", help="with --push: a new repository is public (default: private)")
    parser.add_argument("--yes", action="store_true", help="with --push: send without asking")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.export.runner.description import DESCRIPTION
    from lilift.recipe.errors import RecipeError

    if (arguments.public or arguments.yes) and arguments.push is None:
        option = "--public" if arguments.public else "--yes"
        raise RecipeError(f"{option} has no effect without --push", remedy="name the repository with --push, or leave it out")
    if arguments.push is not None and not (arguments.yes or is_terminal(sys.stdin)):
        raise RecipeError("--push asks before it sends, and there is no terminal", remedy="add --yes")
    if arguments.push is not None and (arguments.run_folder / DESCRIPTION).is_file():
        return _push(arguments.run_folder, arguments)
    written = _export(arguments)
    return written if arguments.push is None else _push(_output(arguments), arguments)


def _push(folder: Path, arguments: argparse.Namespace) -> int:
    """List what will be sent, ask, and send."""
    from lilift.export.hub_upload import plan_upload, send

    upload = plan_upload(folder, arguments.push, public=arguments.public)
    for line in upload.lines():
        _note(line)
    if not arguments.yes and input("send these files? [y/N] ").strip().lower() not in ("y", "yes"):
        _note(f"lilift sent nothing; the export is in {folder}")
        return 0
    address = send(upload)
    print(f"sent to {address}", file=sys.stderr if arguments.json else sys.stdout, flush=True)
    return 0


def _output(arguments: argparse.Namespace) -> Path:
    folder: Path = arguments.output or arguments.run_folder / "export"
    return folder


def _export(arguments: argparse.Namespace) -> int:
    from lilift.phases.run_folder import recipe_of
    from lilift.recipe.errors import RecipeError

    # A mistake is reported before anything heavy is imported.
    recipe = recipe_of(arguments.run_folder)
    if not recipe.can_be_exported:
        raise RecipeError(
            "lilift exports only runs that train an adapter in stage 2 and, with an encoder, an alignment layer in stage 1, "
            "and this run does not",
            where=arguments.run_folder,
            remedy="export a run whose recipe trains both",
        )
    settings = _settings(arguments, recipe.export)
    from lilift.export.bundle import export_bundle
    from lilift.export.job import RunParts
    from lilift.memory.device import device_for
    from lilift.phases.export_check import drift_of_export
    from lilift.phases.report.card_scores import card_scores

    output, run_folder = _output(arguments), arguments.run_folder
    report = export_bundle(recipe, settings, RunParts.of(run_folder, recipe), output, scores=card_scores(run_folder))
    if not arguments.json:
        print("\n".join([*report.lines(), f"written to {output}"]), flush=True)
    drift: DriftReport | None = None
    if settings.drift:
        device = device_for(recipe.card).torch_device
        drift = drift_of_export(recipe, settings, arguments.run_folder, output, device=device, note=_note)
    if arguments.json:
        print_json(report.as_dict() | {"folder": str(output)} | _in_json(drift))
    elif drift is not None:
        print("\n".join(drift.lines()), flush=True)
    report.raise_refusal()
    if not arguments.json:
        print("\nnext")
        from lilift.phases.model_check.recipe_models import can_be_gguf

        print_commands(next_commands(arguments.run_folder, output, settings.formats, gguf=can_be_gguf(recipe)))
    return 0


def next_commands(run_folder: Path, output: Path, formats: Sequence[str], *, gguf: bool) -> list[tuple[str, str]]:
    """The commands that make sense after an export, each with what it does. `gguf`: whether lilift can write that format."""
    run, export = shlex.quote(str(run_folder)), shlex.quote(str(output))
    if "gguf" in formats:
        return [
            (f"lilift chat {export}", "ask questions in the terminal; llama.cpp runs the export"),
            (f"lilift serve {export}", "a web page, and an endpoint for other programs"),
        ]
    steps = [(f"lilift chat {run}", "ask questions in the terminal")]
    if gguf:
        steps.append((f"lilift export {run} --to gguf --output my-model", "files for llama.cpp, which `lilift serve` needs"))
    return steps


def _in_json(drift: DriftReport | None) -> dict[str, Any]:
    if drift is None:
        return {}
    if drift.not_measured is not None:
        return {"drift not measured": drift.not_measured}
    return {"drift": [each.as_dict() for each in drift.drift], "drift measured on": drift.measured_on}


def _note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _settings(arguments: argparse.Namespace, of_recipe: ExportSettings) -> ExportSettings:
    """The recipe's settings with the changes from the command line."""
    from pydantic import ValidationError

    from lilift.recipe.errors import RecipeError
    from lilift.recipe.schema import ExportSettings
    from lilift.recipe.setting_mistakes import what_it_takes

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
            f"{problem['input']!r} is not a type of GGUF file",
            where="--quant",
            remedy=f"choose from {what_it_takes(problem)}",
        ) from None
