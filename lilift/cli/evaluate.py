"""`lilift eval MODEL`: measure the accuracy of a run, an export or an LLM on a benchmark."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.cli.console import HelpFormatter, print_json, print_notes
from lilift.cli.pivot_options import add_pivot_options, add_route_options, pivot_of, route_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lilift.evaluate.benchmarks.benchmark import Benchmark
    from lilift.phases.answering.answerer import AnswerOptions
    from lilift.phases.answering.pivot_responder import Pivot
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
        "  lilift eval runs/mine --benchmark ./problems.csv                  your own questions\n"
        "  lilift eval my-export --benchmark mgsm --path ./mgsm --samples 8       majority of 8 drawn answers\n"
        "  lilift eval Qwen/Qwen2.5-7B-Instruct --template chat --benchmark belebele --languages sw\n"
        "  lilift eval Qwen/Qwen3-8B --template chat --benchmark afrimgsm --languages sw,ha --pivot ./nllb   translate first",
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
    _add_answering(parser.add_argument_group("how the model answers"))
    add_route_options(parser)
    add_pivot_options(parser)
    parser.set_defaults(run=run)


def _add_answering(group: Any) -> None:
    group.add_argument(
        "--samples", type=int, default=1, metavar="K", help="draw K answers, take the most frequent one; also pass@K"
    )
    group.add_argument("--temperature", type=float, metavar="T", help="draw answers at this temperature (with --samples: 0.7)")
    group.add_argument(
        "--top-p", type=float, metavar="P", help="draw among the likeliest tokens of this total probability (0.95)"
    )
    group.add_argument("--seed", type=int, default=0, metavar="N", help="random seed of drawn answers (default: 0)")
    group.add_argument("--max-new-tokens", type=int, metavar="N", help="longest answer in tokens")
    group.add_argument("--batch-tokens", type=int, metavar="N", help="tokens in a batch; lower it if memory runs out")
    group.add_argument("--template", metavar="NAME", help="prompt template for a plain LLM: plain, metamath, alpaca, chat")
    group.add_argument("--quant", metavar="TYPE", help="the GGUF file of an export, e.g. q8_0 (default: the first)")
    group.add_argument("--threads", type=int, metavar="N", help="CPU cores for an export's GGUF files (default: all)")
    group.add_argument("--quantization", choices=("nf4", "none"), help="for an export's hf/ or a plain LLM (none)")
    group.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="for an export's hf/ or a plain LLM")


def run(arguments: argparse.Namespace) -> int:
    from lilift.cli.run_output import print_cut_responses, print_question_counts, print_scores, print_scoring_differences
    from lilift.evaluate.benchmarks.benchmark_languages import OPTION
    from lilift.evaluate.benchmarks.custom.custom_benchmark import custom_lines, read_custom
    from lilift.evaluate.evaluator import evaluate, load_benchmarks
    from lilift.evaluate.scores.response_analysis import read_profiles
    from lilift.evaluate.scores.scores import as_json, by_published_scoring
    from lilift.phases.answer_progress import answer_progress
    from lilift.phases.answering.load_answerer import load_answerer
    from lilift.phases.report.evaluation_pages import write_evaluation_page
    from lilift.recipe.interrupt import polite_interrupts

    options = answer_options(arguments)
    settings = _benchmark_settings(arguments, options)
    pivot_settings, route = pivot_of(arguments), route_of(arguments)
    # Loading a model may take minutes, so lilift first reads everything that does not depend on the model.
    known = settings.name == "custom" or (settings.languages is not None and settings.name != "world")
    languages = read_custom(settings).languages if settings.name == "custom" else ()
    benchmarks = load_benchmarks([settings], tuple(languages), seed=0, setting=OPTION) if known else []
    if not arguments.json:
        for line in custom_lines([settings]):
            print(line, flush=True)
    # The translator's memory is free again before the model is loaded, if the languages do not depend on the model.
    pivot = _translated(pivot_settings, benchmarks) if benchmarks else None
    model = load_answerer(arguments.model, options, system=arguments.system)
    print_notes(model.notes)
    benchmarks = benchmarks or load_benchmarks([settings], model.languages, seed=model.seed, setting=OPTION)
    pivot = pivot or _translated(pivot_settings, benchmarks)
    if pivot is not None or route is not None or arguments.respond_in != "english":
        from lilift.phases.answering.routed_responder import routed

        model = routed(model, route, pivot, arguments.respond_in)
    if not arguments.json:
        print_question_counts(benchmarks)
    output = arguments.output or model.folder / _folder_name(benchmarks[0].name, options, pivot is not None, arguments)
    shown = nullcontext(None) if arguments.json else answer_progress(sys.stdout)
    with polite_interrupts() as interruption, shown as progress:
        scores = evaluate(
            model.responder,
            benchmarks,
            output,
            system=model.system,
            inputs=model.inputs,
            progress=progress,
            interruption=interruption,
            samples=options.samples,
        )
    shown_scores = by_published_scoring(scores) if arguments.scoring == "published" else scores
    page = write_evaluation_page(output, f"{arguments.model}: {arguments.benchmark}")
    if arguments.json:
        print_json(as_json([shown_scores])["systems"][0] | {"folder": str(output)})
    else:
        print_scores([shown_scores])
        print_cut_responses(read_profiles(output)[model.system.name][benchmarks[0].name], arguments.max_new_tokens)
        if arguments.scoring == "published":
            print_scoring_differences(scores)
        print(f"answers and scores: {output}")
        print(f"report: {page}")
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
    if arguments.limit is not None and arguments.limit < 1:
        raise RecipeError(f"--limit {arguments.limit} is too small", remedy="give 1 or more")
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


def answer_options(arguments: argparse.Namespace) -> AnswerOptions:
    """Check the options of `_add_answering`, and return them.

    Raises:
        RecipeError: a number is out of its range.
    """
    from lilift.model.decoding.sampling import Sampling
    from lilift.phases.answering.answerer import AnswerOptions
    from lilift.recipe.errors import RecipeError

    for name in ("samples", "max_new_tokens", "batch_tokens", "threads"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise RecipeError(f"--{name.replace('_', '-')} {value} is too small", remedy="give 1 or more")
    drawn = arguments.samples > 1 or arguments.temperature is not None or arguments.top_p is not None
    sampling = None
    if drawn:
        temperature = 0.7 if arguments.temperature is None else arguments.temperature
        top_p = 0.95 if arguments.top_p is None else arguments.top_p
        if not temperature > 0 or not 0 < top_p <= 1 or arguments.seed < 0:
            raise RecipeError(
                f"--temperature {temperature:g}, --top-p {top_p:g} or --seed {arguments.seed} is out of range",
                remedy="give a temperature above 0, a share above 0 and at most 1, and a seed of 0 or more",
            )
        sampling = Sampling(temperature, top_p, arguments.seed)
    return AnswerOptions(
        max_new_tokens=arguments.max_new_tokens,
        batch_tokens=arguments.batch_tokens,
        sampling=sampling,
        samples=arguments.samples,
        template=arguments.template,
        quantization=arguments.quantization,
        dtype=arguments.dtype,
        gguf=arguments.quant,
        threads=arguments.threads,
    )


def _translated(settings: PivotSettings | None, benchmarks: Sequence[Benchmark]) -> Pivot | None:
    """The translator with all questions translated, its memory free again; None without `--pivot`."""
    if settings is None:
        return None
    from lilift.phases.answering.pivot_responder import Pivot
    from lilift.recipe.interrupt import polite_interrupts

    pivot = Pivot(settings, lambda line: print_notes([line]))
    with polite_interrupts() as interruption:
        pivot.translate_all(benchmarks, interruption=interruption)
    return pivot


def _folder_name(benchmark: str, options: AnswerOptions, translated: bool, arguments: argparse.Namespace) -> str:
    """The folder of the answers: drawn answers, those of another route, and those in another language have their own."""
    drawn = "" if options.sampling is None else f"-{options.samples}-drawn"
    route = arguments.route or ("pivot" if translated else "")
    asked = "-asked" if arguments.respond_in == "asked" else ""
    return f"{benchmark}{drawn}{f'-{route}' if route else ''}{asked}"
