"""`lilift eval MODEL`: measure the accuracy of a run, an export or an LLM on a benchmark."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.cli.answering_options import add_answering_options, answer_options
from lilift.cli.command_lines import PROCESSES
from lilift.cli.console import HelpFormatter, print_notes
from lilift.cli.evaluation_output import print_evaluation, print_shard
from lilift.cli.number_options import require_at_least_one
from lilift.cli.pivot_options import add_pivot_options, add_route_options, pivot_of, route_of
from lilift.cli.several_processes import joined_by_torchrun, launch_command
from lilift.processes.torchrun_environment import started_by_torchrun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lilift.evaluate.benchmarks.benchmark import Benchmark
    from lilift.evaluate.dealt.question_shares import Share
    from lilift.phases.answering.answerer import AnswerOptions
    from lilift.phases.answering.pivot_responder import Translations
    from lilift.phases.answering.route_rule import RouteSettings
    from lilift.processes.joined_processes import Processes
    from lilift.recipe.schema import BenchmarkSettings, PivotSettings


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "eval",
        help="measure accuracy on a benchmark",
        description="Measure the accuracy of a run, an export or an LLM: the model answers the questions of a benchmark, and "
        "lilift counts the right answers. lilift keeps all answers. After an interruption, repeat the same command to "
        "continue.",
        epilog="examples:\n  lilift eval runs/tiny-cpu --benchmark world --limit 200\n"
        "  lilift eval runs/mine --benchmark afrimgsm --source hub --languages sw,ha,yo\n"
        "  lilift eval runs/mine --benchmark ./problems.csv                # your own questions\n"
        "  lilift eval my-export --benchmark mgsm --path ./mgsm --samples 8     # majority of 8 drawn answers\n"
        "  lilift eval Qwen/Qwen2.5-7B-Instruct --template chat --benchmark belebele --languages sw\n"
        "  lilift eval Qwen/Qwen3-8B --template chat --benchmark afrimgsm --languages sw,ha --pivot ./nllb  # translate first\n"
        "  lilift eval runs/mine --benchmark mmwp --shard 3/16 --output all    # one of 16 jobs; then: lilift eval merge all",
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a run, a folder made by `lilift export`, or a Hugging Face LLM (folder or hub name)"
    )
    parser.add_argument(
        "--benchmark",
        required=True,
        metavar="NAME|PATH",
        help="`lilift eval benchmarks` lists the names; or your own questions: a file (./problems.csv, also jsonl, json, tsv, "
        "parquet) or a folder with one file for each language",
    )
    parser.add_argument(
        "--path", type=Path, metavar="DIR", help="folder with the authors' files (default: those of `lilift eval fetch`)"
    )
    parser.add_argument(
        "--source",
        choices=("files", "hub", "sample"),
        default="files",
        help="files: the authors' files (default); hub: the Hugging Face hub; sample: a few rows of lilift's own, for a test",
    )
    parser.add_argument(
        "--labels",
        choices=("generation", "likelihood"),
        default="generation",
        help="for benchmarks with labels or choices, such as belebele: take the label that the response names (generation, the "
        "default), or the label with the highest likelihood",
    )
    parser.add_argument(
        "--scoring",
        choices=("lilift", "published"),
        default="lilift",
        help="published: score as the authors' code does, and print where it differs from lilift's scoring (the default)",
    )
    parser.add_argument(
        "--languages",
        metavar="A,B",
        help="codes or groups, such as en,mmwp-low (default: English and the model's languages; of your own questions: all)",
    )
    parser.add_argument(
        "--columns",
        metavar="ROLE=NAME,…",
        help="own questions only: columns that lilift does not recognise, such as question=swali,answer=jibu; roles are "
        "question, answer, id, language, context, choices (several columns: choices=a+b+c)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N questions of each language")
    parser.add_argument(
        "--system", choices=("lifted", "control", "untrained"), default="lifted", help="the system of a run that answers"
    )
    parser.add_argument(
        "--bare", action="store_true", help="benchmarks with labels: leave out the line that lists the possible answers"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder for answers and scores")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_answering_options(parser.add_argument_group("how the model answers"))
    dealing = parser.add_argument_group("share the questions (see docs/several-gpus.md)")
    dealing.add_argument(
        *PROCESSES, type=int, metavar="N", help="answer with N processes of this machine: one for each GPU, or on a CPU"
    )
    dealing.add_argument(
        "--shard",
        metavar="I/N",
        help="answer only the I-th of N shares, for an array of jobs; then put all together with `lilift eval merge`",
    )
    add_route_options(parser)
    add_pivot_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.evaluate.dealt.question_shares import share_named
    from lilift.phases.answering.load_answerer import computes_with, has_gguf
    from lilift.recipe.errors import RecipeError

    # Mistakes in the options are reported before anything heavy is imported.
    options = answer_options(arguments)
    settings = _benchmark_settings(arguments, options)
    translator, route = pivot_of(arguments), route_of(arguments)
    share = None if arguments.shard is None else share_named(arguments.shard)
    several = arguments.processes not in (None, 1) or started_by_torchrun() is not None
    if several and has_gguf(Path(arguments.model).expanduser()) and arguments.quantization is None and arguments.dtype is None:
        raise RecipeError(
            "several processes do not run the GGUF files of an export, because llama.cpp uses all cores in one",
            remedy="leave --processes out, or share the questions among machines with --shard",
        )
    if arguments.processes not in (None, 1):
        return launch_command(arguments.processes, on_gpus=computes_with(arguments.model) == "cuda")
    compared = {name: str(value) for name, value in vars(arguments).items() if name != "run"}
    with joined_by_torchrun(partial(computes_with, arguments.model), settings.model_dump_json(), compared) as processes:
        if processes is not None:
            options = replace(options, processes=processes.started.local_size)
        return _run(arguments, options, settings, translator, route, share, processes)


def _run(
    arguments: argparse.Namespace,
    options: AnswerOptions,
    settings: BenchmarkSettings,
    translator: PivotSettings | None,
    route: RouteSettings | None,
    share: Share | None,
    processes: Processes | None,
) -> int:
    from lilift.cli.run_output import print_question_counts
    from lilift.evaluate.benchmarks.benchmark_languages import OPTION
    from lilift.evaluate.benchmarks.custom.custom_benchmark import custom_lines, read_custom
    from lilift.evaluate.dealt.question_shares import own_questions
    from lilift.evaluate.evaluator import evaluate, load_benchmarks
    from lilift.phases.answer_progress import answer_progress
    from lilift.phases.answering.load_answerer import load_answerer
    from lilift.phases.answering.routed_responder import routed
    from lilift.recipe.interrupt import polite_interrupts

    leads = processes is None or processes.is_first
    quiet = arguments.json or not leads
    is_routed = route is not None or arguments.respond_in != "english"
    # Loading a model may take minutes, so lilift first reads everything that does not depend on the model.
    known = settings.name == "custom" or (settings.languages is not None and settings.name != "world")
    languages = read_custom(settings).languages if settings.name == "custom" else ()
    benchmarks = load_benchmarks([settings], tuple(languages), seed=0, setting=OPTION) if known else []
    if not quiet:
        for line in custom_lines([settings]):
            print(line, flush=True)
    # The translator's memory is free again before the model is loaded, if the languages do not depend on the model.
    pivot = _translated(translator, benchmarks, processes, goes_on=is_routed) if benchmarks else None
    model = load_answerer(arguments.model, options, system=arguments.system)
    if leads:
        print_notes(model.notes)
    seed = 0 if known else model.seed
    benchmarks = benchmarks or load_benchmarks([settings], model.languages, seed=seed, setting=OPTION)
    pivot = pivot or _translated(translator, benchmarks, processes, goes_on=is_routed)
    model = routed(model, route, pivot, arguments.respond_in)
    if not quiet:
        print_question_counts(benchmarks)
    output = arguments.output or model.folder / _folder_name(benchmarks[0].name, options, pivot is not None, arguments)
    shown = nullcontext(None) if quiet else answer_progress(sys.stdout)
    with polite_interrupts() as interruption, shown as progress:
        how: dict[str, Any] = {"interruption": interruption, "samples": options.samples}
        if processes is not None and not processes.is_first:
            from lilift.evaluate.dealt.answer_exchange import answer_share

            asked = benchmarks if share is None else own_questions(benchmarks, share)
            answer_share(processes, model.responder, asked, **how)
            return 0
        how |= {"system": model.system, "inputs": model.inputs, "progress": progress, "processes": processes}
        if share is not None:
            from lilift.evaluate.dealt.shards import Evaluation, answer_shard

            asking = tuple(dict.fromkeys(one.language for one in benchmarks))
            whole = Evaluation(settings, asking, seed, f"{arguments.model}: {arguments.benchmark}")
            done = answer_shard(model.responder, benchmarks, output, share, whole, **how)
        else:
            scores = evaluate(model.responder, benchmarks, output, **how)
    if share is not None:
        print_shard(done, output, as_json=arguments.json)
    else:
        title = f"{arguments.model}: {arguments.benchmark}"
        print_evaluation(scores, output, title, arguments, longest=arguments.max_new_tokens)
    return 0


def _benchmark_settings(arguments: argparse.Namespace, options: AnswerOptions) -> BenchmarkSettings:
    """The benchmark, with its settings from the command line.

    Raises:
        RecipeError: the options contradict each other.
        DataError: lilift does not know a language.
    """
    from lilift.cli.benchmark_options import name_and_path, question_columns
    from lilift.cli.language_options import language_codes
    from lilift.data.languages import language
    from lilift.recipe.errors import RecipeError
    from lilift.recipe.schema import MAY_HAVE_LABELS, WITH_LABELS, BenchmarkSettings

    name, path = name_and_path(arguments.benchmark, arguments.path)
    require_at_least_one(arguments, "limit")
    if arguments.labels == "likelihood" and name not in MAY_HAVE_LABELS:
        raise RecipeError(
            f"--labels likelihood needs a benchmark with labels ({', '.join(WITH_LABELS)}), and {name} has none",
            remedy="leave --labels out",
        )
    if arguments.bare and name not in MAY_HAVE_LABELS:
        raise RecipeError(
            f"--bare is for benchmarks with labels ({', '.join(WITH_LABELS)}); lilift adds no line to the questions of {name}",
            remedy="leave --bare out",
        )
    if arguments.labels == "likelihood" and options.sampling is not None:
        raise RecipeError(
            "--labels likelihood draws no answers, so --samples, --temperature and --top-p have no effect",
            remedy="leave out either --labels or these options",
        )
    if name != "custom" and arguments.columns:
        raise RecipeError(f"--columns is for your own questions, and {name} needs none", remedy="leave it out")
    if name == "custom" and arguments.source != "files":
        raise RecipeError(f"--source {arguments.source} has no effect on your own questions", remedy="leave it out")
    if name == "custom" and arguments.scoring == "published":
        raise RecipeError("--scoring published is for published benchmarks, not for your own questions", remedy="leave it out")
    return BenchmarkSettings(
        name=name,
        source=arguments.source,
        path=None if path is None else str(path.expanduser()),
        columns=question_columns(arguments.columns) if arguments.columns else None,
        languages=tuple(language(code).code for code in language_codes(arguments.languages)) if arguments.languages else None,
        limit=arguments.limit,
        labels=arguments.labels,
        bare=arguments.bare,
    )


def _translated(
    settings: PivotSettings | None, benchmarks: Sequence[Benchmark], processes: Processes | None, *, goes_on: bool
) -> Translations | None:
    """The translations of all questions, the translator's memory free again; None without `--pivot`.

    With `goes_on` it translates more later, such as answers.
    """
    if settings is None:
        return None
    from lilift.phases.answering.question_translations import translate_together
    from lilift.recipe.interrupt import polite_interrupts

    with polite_interrupts() as interruption:
        return translate_together(
            settings,
            benchmarks,
            lambda line: print_notes([line]),
            interruption=interruption,
            processes=processes,
            goes_on=goes_on,
        )


def _folder_name(benchmark: str, options: AnswerOptions, translated: bool, arguments: argparse.Namespace) -> str:
    """The folder of the answers: drawn answers, those of another route, and those in another language have their own."""
    drawn = "" if options.sampling is None else f"-{options.samples}-drawn"
    route = arguments.route or ("pivot" if translated else "")
    asked = "-asked" if arguments.respond_in == "asked" else ""
    return f"{benchmark}{drawn}{f'-{route}' if route else ''}{asked}"
