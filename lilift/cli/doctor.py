"""`lilift doctor`: report what works on this machine, what does not work, and what to do about it."""

from __future__ import annotations

import argparse
from typing import Any

from lilift.cli.console import HelpFormatter, print_json, print_table


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "doctor",
        help="check what works on this machine",
        description="Check this machine: versions, GPU, memory, 4-bit training, kernels, stand-in models.",
        epilog="example:\n  lilift doctor --json",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.phases.environment import examine
    from lilift.recipe.errors import EXIT_OK, EnvironmentUnfit

    findings = examine()
    if arguments.json:
        print_json([finding.as_dict() for finding in findings])
    else:
        marks = {"works": "ok", "note": "note", "broken": "BROKEN"}
        rows = [(marks[f.state], f.subject, f.found) for f in findings]
        print_table("lilift doctor", ("", "what", "found"), rows, prose=(2,))
        # Below the table, which wraps its cells, so that you can copy the commands.
        for finding in findings:
            if finding.advice:
                print(f"{finding.subject}: {finding.advice}")
    broken = [finding.subject for finding in findings if finding.state == "broken"]
    return EnvironmentUnfit.exit_code if broken else EXIT_OK
