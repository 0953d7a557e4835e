"""`lilift eval RUN`: accuracy of a finished run on a benchmark."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "eval",
        help="accuracy of a finished run on a benchmark",
        description="Ask a finished run the questions of a benchmark and count right answers. Answers are kept in "
        "RUN/evaluations/BENCHMARK; the same call after an interruption asks only what is not answered yet.",
        epilog="examples:\n  lilift eval runs/tiny-cpu --benchmark world --limit 200\n"
        "  lilift eval runs/mine --benchmark mmwp --path ./mmwp --languages sw,bn,th",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a run folder, such as runs/tiny-cpu")
    parser.add_argument("--benchmark", required=True, choices=("world", "mmwp", "mgsm"), help="what to ask")
    parser.add_argument("--path", type=Path, metavar="DIR", help="folder with the benchmark's files (`world` needs none)")
    parser.add_argument("--languages", metavar="A,B", help="language codes (default: English and the recipe's)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N questions of each language")
    parser.add_argument("--system", choices=("lifted", "control", "untrained"), default="lifted", help="which system")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where answers and scores are kept")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.cli.console import print_json
    from lilift.cli.results import print_scores
    from lilift.evaluate.evaluator import evaluate, load_benchmarks
    from lilift.evaluate.scores import as_json
    from lilift.memory.card import device_for
    from lilift.phases.progress import answer_progress
    from lilift.phases.systems import SYSTEMS, answers_depend_on, load_system, recipe_of, responder_for
    from lilift.recipe.errors import RecipeError
    from lilift.recipe.interrupt import polite_interrupts
    from lilift.recipe.schema import BenchmarkSettings

    if arguments.limit is not None and arguments.limit < 1:
        raise RecipeError(f"--limit {arguments.limit} is not a number of questions", remedy="give 1 or more")
    recipe = recipe_of(arguments.run_folder)
    settings = BenchmarkSettings(
        name=arguments.benchmark,
        path=str(arguments.path.expanduser()) if arguments.path else None,
        languages=tuple(arguments.languages.split(",")) if arguments.languages else None,
        limit=arguments.limit,
    )
    benchmarks = load_benchmarks([settings], recipe.languages, seed=recipe.seed)
    if not arguments.json:
        for one in benchmarks:
            print(f"{one.name} {one.language}: {one.rows_read} rows read, {len(one.questions)} asked")
    system = SYSTEMS[arguments.system]
    bridge = load_system(recipe, arguments.run_folder, system, device=device_for(recipe.card).torch_device)
    output = arguments.output or arguments.run_folder / "evaluations" / arguments.benchmark
    shown = nullcontext(None) if arguments.json else answer_progress(sys.stdout)
    with polite_interrupts() as interruption, shown as progress:
        scores = evaluate(
            responder_for(bridge, recipe, recipe.evaluate),
            benchmarks,
            output,
            system=system,
            inputs=answers_depend_on(recipe, arguments.run_folder, system),
            progress=progress,
            interruption=interruption,
        )
    if arguments.json:
        print_json(as_json([scores])["systems"][0] | {"folder": str(output)})
    else:
        print_scores([scores])
        print(f"answers and scores: {output}")
    return 0
