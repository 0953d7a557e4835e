"""`lilift serve MODEL`: answer other programs and a browser with an export, a run or an LLM."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from lilift.cli.console import HelpFormatter, print_notes
from lilift.cli.number_options import require_at_least_one
from lilift.cli.pivot_options import add_pivot_options, add_route_options, pivot_of, route_of

API_KEY_VARIABLE = "LILIFT_API_KEY"
PARALLEL = 4
_MOST_PORT = 65535
_MOST_PARALLEL = 64  # llama.cpp knows 256 sequences, but memory ends earlier


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "serve",
        help="answer other programs and a browser with an export or a run",
        description="Answer requests on this machine. Programs use OpenAI-compatible chat completions, and people use a "
        "web page. An export's GGUF files need no torch, and several answers grow side by side, each as if it were alone. "
        "A run or a Hugging Face LLM needs torch, and answers one question after the other.",
        epilog="examples:\n  lilift serve my-export                          # http://127.0.0.1:8737, only for this machine\n"
        "  lilift serve my-export --quant q8_0 --port 9000\n"
        "  lilift serve runs/mine --beside base --ratings ratings.jsonl  # compare with the LLM before training, on the page\n"
        "  lilift serve my-export --pivot ./nllb --route auto --respond-in asked --language sw\n"
        f"  {API_KEY_VARIABLE}=secret lilift serve my-export --host 0.0.0.0  # also for a phone in the same network",
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a folder made by `lilift export`, a run, or a Hugging Face LLM (folder or hub name)"
    )
    parser.add_argument(
        "--beside",
        metavar="MODEL",
        help="a second model, whose answers the page shows beside those of the first: base (the LLM that MODEL was trained "
        "from, without bridge and adapter), or any run, export or LLM",
    )
    parser.add_argument(
        "--beside-template", metavar="NAME", help="prompt template of an LLM beside: plain, metamath, alpaca, chat"
    )
    parser.add_argument(
        "--language",
        metavar="LANGUAGE",
        help="language of questions whose request names none (default: the model's language if it has only one, otherwise "
        "English); only for --pivot, --respond-in and encoders that are told it",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, only this machine)")
    parser.add_argument("--port", type=int, default=8737, help="port to listen on (default: 8737); 0 takes a free one")
    parser.add_argument("--quant", metavar="TYPE", help="the GGUF file to run, e.g. q8_0 (default: the first)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU cores to use (default: all, or one for a tiny model)")
    parser.add_argument("--api-key", metavar="KEY", help=f"key that clients must send; safer: set {API_KEY_VARIABLE}")
    parser.add_argument(
        "--parallel", type=int, default=PARALLEL, metavar="N", help="answers of an export to write side by side (default: 4)"
    )
    parser.add_argument("--max-requests", type=int, default=8, metavar="N", help="most requests that run or wait (default: 8)")
    parser.add_argument("--max-body-kib", type=int, default=256, metavar="N", help="largest request in KiB (default: 256)")
    parser.add_argument(
        "--ratings",
        type=Path,
        metavar="FILE",
        help="let people rate and correct answers on the page; lilift adds a JSON line for each (docs/export.md)",
    )
    add_route_options(parser)
    add_pivot_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.cli.language_options import language_code
    from lilift.phases.answering.load_answerer import has_gguf
    from lilift.recipe.errors import RecipeError, RunFolderError

    require_at_least_one(arguments, "threads", "parallel", "max_requests", "max_body_kib")
    if not 0 <= arguments.port <= _MOST_PORT:
        raise RecipeError(f"--port {arguments.port} is not a port", remedy=f"give a number from 0 to {_MOST_PORT}")
    if arguments.parallel > _MOST_PARALLEL:
        raise RecipeError(f"--parallel {arguments.parallel} is too large", remedy=f"give {_MOST_PARALLEL} or less")
    if arguments.beside_template is not None and arguments.beside is None:
        raise RecipeError("--beside-template has no effect without --beside", remedy="leave it out")
    # A wrong folder is reported before anything heavy is imported.
    folder = Path(arguments.model).expanduser()
    if not folder.is_dir() and "/" not in arguments.model and ":" not in arguments.model:
        raise RunFolderError(
            "there is no such folder",
            where=arguments.model,
            remedy="give the folder of an export or a run, or an LLM on the hub as OWNER/NAME",
        )
    translator, route = pivot_of(arguments), route_of(arguments)
    key = arguments.api_key or os.environ.get(API_KEY_VARIABLE) or None
    from lilift.export.server.host_names import LOOPBACK

    local = arguments.host in LOOPBACK
    if not local and key is None:
        raise RecipeError(
            f"--host {arguments.host} lets other machines connect, and you set no API key",
            remedy=f"set {API_KEY_VARIABLE}, or leave --host out",
        )
    is_export = has_gguf(folder)
    from lilift.export.server.application import Limits, build_application
    from lilift.export.server.listening import listen, serve
    from lilift.phases.answering.load_served import load_beside, load_served

    def note(line: str) -> None:
        print_notes([line])

    if not is_export and arguments.parallel != PARALLEL:
        raise RecipeError("--parallel is only for the GGUF files of an export", remedy="leave it out")
    served = load_served(
        arguments.model,
        quantisation=arguments.quant,
        threads=arguments.threads,
        translator=translator,
        route=route,
        respond_in=arguments.respond_in,
        language=language_code(arguments.language) if arguments.language else None,
        note=note,
    )
    beside = None
    if arguments.beside is not None:
        beside = load_beside(arguments.beside, served, template=arguments.beside_template, note=note)
    limits = Limits(body_bytes=arguments.max_body_kib * 1024, requests=arguments.max_requests, answers=arguments.parallel)
    application = build_application(
        served.model,
        limits=limits,
        api_key=key,
        hosts=LOOPBACK if local else None,
        ratings=arguments.ratings,
        reading=served.reading,
        beside=beside,
    )
    with listen(arguments.host, arguments.port) as (socket, address):
        names = served.model.name + (f", beside it {beside.name}" if beside else "")
        print(f"{names}\n  page              {address}/\n  OpenAI-compatible {address}/v1\nPress Ctrl-C to stop", flush=True)
        serve(application, socket)
    return 0
