"""`lilift serve EXPORT`: answer other programs and a browser with an export."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from lilift.cli.console import HelpFormatter

API_KEY_VARIABLE = "LILIFT_API_KEY"
_MOST_PORT = 65535
_MOST_PARALLEL = 64  # llama.cpp knows 256 sequences, but memory ends earlier


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "serve",
        help="answer other programs and a browser with an export",
        description="Run an export's GGUF files and answer requests on this machine. Programs use OpenAI-compatible chat "
        "completions, and people use a web page. lilift writes several answers side by side, with the same words as alone. It "
        "needs no torch for this.",
        epilog="examples:\n  lilift serve my-export                            http://127.0.0.1:8737, only for this machine\n"
        "  lilift serve my-export --quant q8_0 --port 9000\n"
        f"  {API_KEY_VARIABLE}=secret lilift serve my-export --host 0.0.0.0   also for a phone in the same network",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("export", type=Path, metavar="EXPORT", help="a folder made by `lilift export --to gguf`")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, only this machine)")
    parser.add_argument("--port", type=int, default=8737, help="port to listen on (default: 8737); 0 takes a free one")
    parser.add_argument("--quant", metavar="TYPE", help="the GGUF file to run, e.g. q8_0 (default: the first)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU cores to use (default: all, or one for a tiny model)")
    parser.add_argument("--api-key", metavar="KEY", help=f"key that clients must send; safer: set {API_KEY_VARIABLE}")
    parser.add_argument("--parallel", type=int, default=4, metavar="N", help="answers to write side by side (default: 4)")
    parser.add_argument("--max-requests", type=int, default=8, metavar="N", help="most requests that run or wait (default: 8)")
    parser.add_argument("--max-body-kib", type=int, default=256, metavar="N", help="largest request in KiB (default: 256)")
    parser.add_argument(
        "--ratings",
        type=Path,
        metavar="FILE",
        help="let people rate and correct answers on the page; lilift adds a JSON line for each (docs/export.md)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.export.runner.description import read_description
    from lilift.recipe.errors import RecipeError

    for name in ("threads", "parallel", "max_requests", "max_body_kib"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise RecipeError(f"--{name.replace('_', '-')} {value} is too small", remedy="give 1 or more")
    if not 0 <= arguments.port <= _MOST_PORT:
        raise RecipeError(f"--port {arguments.port} is not a port", remedy=f"give a number from 0 to {_MOST_PORT}")
    if arguments.parallel > _MOST_PARALLEL:
        raise RecipeError(f"--parallel {arguments.parallel} is too large", remedy=f"give {_MOST_PARALLEL} or less")
    # A wrong folder is reported before anything heavy is imported.
    read_description(arguments.export)
    from lilift.export.runner.exported_bridge import ExportedBridge
    from lilift.export.server.application import LOOPBACK, Limits, build_application
    from lilift.export.server.listening import listen, serve

    key = arguments.api_key or os.environ.get(API_KEY_VARIABLE) or None
    local = arguments.host in LOOPBACK
    if not local and key is None:
        raise RecipeError(
            f"--host {arguments.host} lets other machines connect, and you set no API key",
            remedy=f"set {API_KEY_VARIABLE}, or leave --host out",
        )
    bridge = ExportedBridge(arguments.export, quantisation=arguments.quant, threads=arguments.threads)
    limits = Limits(body_bytes=arguments.max_body_kib * 1024, requests=arguments.max_requests, answers=arguments.parallel)
    application = build_application(
        bridge, limits=limits, api_key=key, hosts=LOOPBACK if local else None, ratings=arguments.ratings
    )
    with listen(arguments.host, arguments.port) as (socket, address):
        print(
            f"{bridge.name}\n  page              {address}/\n  OpenAI-compatible {address}/v1\nPress Ctrl-C to stop", flush=True
        )
        serve(application, socket)
    return 0
