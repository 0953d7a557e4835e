"""`lilift model check`: what lilift can do with an LLM or an encoder, found out in seconds and before any training."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from lilift.cli.console import print_json, print_table
from lilift.cli.recipe import add_action


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "model", help="check what lilift can do with a model", description="Check what lilift can do with a model."
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    check = add_action(
        actions,
        "check",
        "train, answer, merge and export with a small random twin of a model, without downloading its weights",
        "lilift model check Qwen/Qwen2.5-1.5B\n  lilift model check models/my-encoder --as encoder --json",
    )
    check.add_argument("model", metavar="MODEL", help="a folder, a name on the hub, or a stand-in")
    check.add_argument(
        "--as", choices=("llm", "encoder"), dest="kind", help="what the model is to be (default: what its configuration says)"
    )
    check.add_argument("--revision", metavar="REV", help="commit, tag or branch of the model on the hub")
    check.add_argument(
        "--trust-remote-code", action="store_true", help="run Python code that comes with the model; read it first"
    )
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=run_check)


def run_check(arguments: argparse.Namespace) -> int:
    from lilift.model.sources import require_configuration

    # A wrong name is reported before torch is loaded.
    require_configuration(arguments.model, arguments.revision, what="model")
    from lilift.phases.model_check.check_model import check_model, require_works

    report = check_model(
        arguments.model,
        kind=arguments.kind,
        revision=arguments.revision,
        trust_remote_code=arguments.trust_remote_code,
    )
    if arguments.json:
        print_json(report.as_dict())
    else:
        rows = [(finding.question, finding.verdict, finding.found) for finding in report.findings]
        title = f"{report.name}: {report.architecture} as {'LLM' if report.kind == 'llm' else 'encoder'}"
        print_table(title, ("", "works", "found"), rows, prose=(2,))
        # Below the table, which breaks its cells, so that commands can be copied.
        for finding in report.findings:
            if finding.remedy:
                print(f"{finding.question}: {finding.remedy}")
        sys.stdout.flush()
    require_works(report)
    return 0
