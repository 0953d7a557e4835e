"""`lilift watch RUN`: show the report of a run in a browser while it goes on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lilift.cli.console import HelpFormatter

_MOST_PORT = 65535


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "watch",
        help="show the report of a run in a browser while it goes on",
        description="Show the report of a run in a browser: loss, speed, memory beside the plan, and watched accuracy so far. "
        "The page loads itself again every few seconds. Only this machine can open it. lilift reads the run folder and changes "
        "nothing in it. It needs no torch for this.",
        epilog="examples:\n  lilift watch runs/tiny-cpu            # http://127.0.0.1:8738\n"
        "  lilift watch runs/tiny-cpu --port 9000 --every 30",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a run folder, such as runs/tiny-cpu")
    parser.add_argument("--port", type=int, default=8738, help="port to listen on (default: 8738); 0 takes a free one")
    parser.add_argument("--every", type=int, default=5, metavar="SECONDS", help="time between two loads (default: 5)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.phases.report.live_server import ADDRESS, LiveReport, live_server
    from lilift.phases.run_folder import recipe_of
    from lilift.recipe.errors import RecipeError

    if not 0 <= arguments.port <= _MOST_PORT:
        raise RecipeError(f"--port {arguments.port} is not a port", remedy=f"give a number from 0 to {_MOST_PORT}")
    if arguments.every < 1:
        raise RecipeError(f"--every {arguments.every} is too small", remedy="give 1 or more seconds")
    recipe_of(arguments.run_folder)  # a wrong folder is reported before the server starts
    with live_server(LiveReport(arguments.run_folder, arguments.every), arguments.port) as server:
        print(f"http://{ADDRESS}:{server.server_address[1]}/\nPress Ctrl-C to stop; the run goes on", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0
