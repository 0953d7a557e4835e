"""`lilift serve EXPORT`: an export for other programs and for a browser."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

API_KEY_VARIABLE = "LILIFT_API_KEY"


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "serve",
        help="an export for other programs and for a browser",
        description="Run an export's GGUF files and answer on this machine: OpenAI-compatible chat completions for any program "
        "that speaks them, and a web page to type into. One answer at a time; no torch is needed.",
        epilog="examples:\n  lilift serve my-export                            http://127.0.0.1:8737, for this machine alone\n"
        "  lilift serve my-export --quant q8_0 --port 9000\n"
        f"  {API_KEY_VARIABLE}=secret lilift serve my-export --host 0.0.0.0   for a phone in the same network",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("export", type=Path, metavar="EXPORT", help="a folder made by `lilift export --to gguf`")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine alone)")
    parser.add_argument("--port", type=int, default=8737, help="port to listen on (8737); 0 takes a free one")
    parser.add_argument("--quant", metavar="TYPE", help="which GGUF file, e.g. q8_0 (default: the export's first)")
    parser.add_argument("--threads", type=int, metavar="N", help="cores to compute on (default: all)")
    parser.add_argument("--api-key", metavar="KEY", help=f"what clients must send (better: the variable {API_KEY_VARIABLE})")
    parser.add_argument("--max-requests", type=int, default=8, metavar="N", help="answers made or waited for at once (8)")
    parser.add_argument("--max-body-kib", type=int, default=256, metavar="N", help="largest request in KiB (256)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.export.runner.exported_bridge import ExportedBridge
    from lilift.export.server.application import LOOPBACK, Limits, build_application
    from lilift.export.server.listening import listen, serve
    from lilift.recipe.errors import RecipeError

    for name in ("threads", "max_requests", "max_body_kib"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise RecipeError(f"--{name.replace('_', '-')} {value} is too small", remedy="give 1 or more")
    key = arguments.api_key or os.environ.get(API_KEY_VARIABLE) or None
    local = arguments.host in LOOPBACK
    if not local and key is None:
        raise RecipeError(
            f"--host {arguments.host} lets others in, and there is no API key",
            remedy=f"set {API_KEY_VARIABLE}, or leave --host out",
        )
    bridge = ExportedBridge(arguments.export, quantisation=arguments.quant, threads=arguments.threads)
    limits = Limits(body_bytes=arguments.max_body_kib * 1024, requests=arguments.max_requests)
    application = build_application(bridge, limits=limits, api_key=key, hosts=LOOPBACK if local else None)
    with listen(arguments.host, arguments.port) as (socket, address):
        print(f"{bridge.name}\n  page              {address}/\n  OpenAI-compatible {address}/v1\nCtrl-C ends it", flush=True)
        serve(application, socket)
    return 0
