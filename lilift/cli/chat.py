"""`lilift chat RUN`: ask a finished run in its own languages."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "chat",
        help="ask a finished run",
        description="Ask a finished run. Without a question: one line at a time, until an empty line or Ctrl-D.",
        epilog='examples:\n  lilift chat runs/tiny-cpu "Omar kanniisa 25 qaba. …"\n  lilift chat runs/tiny-cpu < questions.txt',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a run folder, such as runs/tiny-cpu")
    parser.add_argument("question", nargs="?", help="one question; left out, questions are read line by line")
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="longest answer (default: the recipe's)")
    parser.add_argument("--system", choices=("lifted", "control", "untrained"), default="lifted", help="which system")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.memory.card import device_for
    from lilift.phases.systems import SYSTEMS, load_system, recipe_of, responder_for

    recipe = recipe_of(arguments.run_folder)
    device = device_for(recipe.card)
    bridge = load_system(recipe, arguments.run_folder, SYSTEMS[arguments.system], device=device.torch_device)
    settings = recipe.evaluate
    if arguments.max_new_tokens is not None:
        settings = settings.model_copy(update={"max_new_tokens": arguments.max_new_tokens})
    responder = responder_for(bridge, recipe, settings)
    if arguments.question is not None:
        print(responder.generate([arguments.question])[0])
        return 0
    for question in _questions():
        print(responder.generate([question])[0], flush=True)
    return 0


def _questions() -> Any:
    """Lines from the terminal until an empty one, or every line of a file."""
    asking = sys.stdin.isatty()
    while True:
        if asking:
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line or (asking and not line.strip()):
            return
        if line.strip():
            yield line.strip()
