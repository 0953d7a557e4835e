"""`lilift eval harness MODEL …`: evaluate a model on tasks of EleutherAI's lm-eval harness."""

from __future__ import annotations

import argparse
from typing import Any

from lilift.cli.console import HelpFormatter


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "eval harness",
        help="evaluate a model on tasks of EleutherAI's lm-eval harness",
        usage="lilift eval harness [-h] MODEL --tasks A,B [any other option of `lm-eval run`]",
        description="Evaluate a run, an export or an LLM on tasks of the lm-eval harness (`pip install 'lilift[lm-eval]'`). "
        "lilift reads a task's context as a question, in the prompt template of training. It refuses tasks that measure "
        "perplexity. lilift passes every option after MODEL to `lm-eval run`.",
        epilog="examples:\n  lilift eval harness runs/mine --tasks belebele_swh_Latn --num_fewshot 0\n"
        "  lilift eval harness runs/mine --tasks gsm8k --num_fewshot 0 --limit 100 --output_path results\n"
        "  lilift eval harness runs/mine --model_args system=control batch_tokens=4096 --tasks xnli_sw",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="a run, a folder made by `lilift export`, or a Hugging Face LLM")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.phases.answering.run_harness import run_harness

    run_harness(arguments.model, arguments.arguments)
    return 0
