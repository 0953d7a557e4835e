"""Measure how much faster lilift answers questions in batches than one by one; the goal is 8 times, with the same answers.

python -m benchmarks evaluation_throughput --check
python -m benchmarks evaluation_throughput --mmwp FOLDER --check      also all of MMWP, at most 15 minutes on two cores
python -m benchmarks evaluation_throughput --mmwp FOLDER --limit 40   a part of MMWP, to estimate how long all of it takes
python -m benchmarks evaluation_throughput --baseline CHECKOUT        also the code of another checkout, in alternate pairs

The models are those of `tiny-cpu`: the stand-in LLM alone, which ends its answers by itself, and the bridged model before
training, in 4 bits. With `--run RUN` the bridged model is a finished run. The speed-ups are in processor time of one thread, so
that other work on the machine does not count. MMWP is timed by the clock on all cores, and includes tokenising, judging,
analysis and files.

`--baseline` compares the responder of an evaluation, for a bridge before training and for one with an adapter of random
weights. Two processes answer the same questions in five languages by turns. The results go to a file of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.shared.result_files import commit_of, keep, report_goals
from lilift.data.languages import languages
from lilift.evaluate.evaluator import LIFTED, evaluate, load_benchmarks
from lilift.evaluate.responders import Responder
from lilift.model.assemble_bridge import attach_lora, load_bridge
from lilift.phases.answering.answerer import AnswerOptions
from lilift.phases.answering.load_answerer import load_answerer
from lilift.phases.answering.systems import load_system, responder_for, tokenisation_for
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import BenchmarkSettings

GOALS = {
    "LLM alone: speed-up": ("at least", 8.0),
    "bridged: speed-up": ("at least", 8.0),
    "different answers": ("at most", 0.0),
}
BASELINE_GOALS = {
    "bridged: speed beside the baseline": ("at least", 1.5),
    "with adapter: speed beside the baseline": ("at least", 1.5),
    "answers that differ from the baseline's": ("at most", 0.0),
}
SYSTEMS = ("bridged", "with adapter")
PAIRS = 7
MMWP_GOAL = {"MMWP, 48 languages: minutes": ("at most", 15.0)}


def timed(generate: Callable[..., list[str]], rows: list[Any], **options: int) -> tuple[list[str], float]:
    started = time.process_time()
    return generate(rows, **options), time.process_time() - started


def compared(name: str, generate: Callable[..., list[str]], rows: list[Any], found: dict[str, float], budget: int) -> int:
    """Answer in batches and one by one; return how many answers differ. The first, short call fills caches."""
    generate(rows[:4], batch_tokens=budget)
    together, seconds = timed(generate, rows, batch_tokens=budget)
    alone, seconds_alone = timed(generate, rows, batch_tokens=1)
    found[f"{name}: questions a second, one by one"] = len(rows) / seconds_alone
    found[f"{name}: questions a second, side by side"] = len(rows) / seconds
    found[f"{name}: speed-up"] = seconds_alone / seconds
    return sum(one != other for one, other in zip(together, alone, strict=True))


def whole_mmwp(folder: Path, run: Path | None, limit: int | None) -> dict[str, float]:
    """Evaluate MMWP in all languages, with the code of `lilift eval`."""
    torch.set_num_threads(os.cpu_count() or 1)
    recipe = load_recipe("tiny-cpu")
    codes = tuple(code for code, known in languages().items() if known.tier)
    bridge = load_system(recipe, run, LIFTED, device=torch.device("cpu")) if run else load_bridge(recipe, device="cpu")
    settings = BenchmarkSettings(name="mmwp", path=str(folder), languages=codes, limit=limit)
    benchmarks = load_benchmarks([settings], (), seed=0)
    responder = responder_for(bridge, recipe, run, recipe.evaluate)
    with tempfile.TemporaryDirectory() as place:
        started, processor = time.monotonic(), time.process_time()
        evaluate(
            responder,
            benchmarks,
            Path(place),
            progress=lambda at: print(f"\r{at.language} {at.all_done}/{at.all_total}", end="", flush=True),
        )
        minutes, processor_minutes = (time.monotonic() - started) / 60, (time.process_time() - processor) / 60
    print()
    questions = sum(len(one.questions) for one in benchmarks)
    return {
        "MMWP, 48 languages: questions": questions,
        "MMWP, 48 languages: minutes": minutes,
        "MMWP, 48 languages: minutes of processor time": processor_minutes,
        "MMWP, 48 languages: questions a second": questions / minutes / 60,
    }


def answer_by_turns(questions: int) -> None:
    """Answer for one line of standard input at a time, and print the processor time and the answers."""
    torch.set_num_threads(1)
    recipe = load_recipe("tiny-cpu")
    benchmarks = load_benchmarks([BenchmarkSettings(name="world", limit=questions)], recipe.languages, seed=0)
    texts = [[question.text for question in benchmark.questions] for benchmark in benchmarks]
    responders = {}
    for system in SYSTEMS:
        bridge = load_bridge(recipe, device="cpu")
        if system == "with adapter":
            attach_lora(bridge, recipe.transfer.lora)
            generator = torch.Generator().manual_seed(0)
            with torch.no_grad():
                for name, parameter in bridge.llm.named_parameters():
                    if "lora_B" in name:
                        parameter.normal_(std=0.003, generator=generator)
        responders[system] = responder_for(bridge, recipe, None, recipe.evaluate)
        responders[system].generate(texts[0][:4])  # fills caches
    for line in sys.stdin:
        responder = responders[line.strip()]
        started = time.process_time()
        answers = [responder.generate(language) for language in texts]
        print(json.dumps({"seconds": time.process_time() - started, "answers": answers}), flush=True)


def beside_baseline(checkout: Path, questions: int) -> dict[str, float]:
    """Answer with another checkout's code and with this one's, by turns; the median of the pairs' ratios."""
    here = Path(__file__).parents[2]
    processes = []
    for root in (checkout, here):
        command = [sys.executable, __file__, "--by-turns", "--questions", str(questions)]
        paths = os.pathsep.join([str(root), str(root / "kernels")])
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True))

    def answered(number: int, system: str) -> dict[str, Any]:
        process = processes[number]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{system}\n")
        process.stdin.flush()
        reply: dict[str, Any] = json.loads(process.stdout.readline())
        return reply

    found: dict[str, float] = {}
    different = 0
    for system in SYSTEMS:
        pairs = []
        for turn in range(PAIRS):
            order = (0, 1) if turn % 2 else (1, 0)
            replies = {number: answered(number, system) for number in order}
            pairs.append((replies[0]["seconds"], replies[1]["seconds"]))
            print(f"{system}: {pairs[-1][0]:.2f} s before, {pairs[-1][1]:.2f} s now", flush=True)
        answers = [[text for language in replies[number]["answers"] for text in language] for number in (0, 1)]
        different += sum(one != other for one, other in zip(*answers, strict=True))
        before, now = (statistics.median(pair[number] for pair in pairs) for number in (0, 1))
        found[f"{system}: questions a second, baseline"] = len(answers[0]) / before
        found[f"{system}: questions a second"] = len(answers[0]) / now
        found[f"{system}: speed beside the baseline"] = statistics.median(one / other for one, other in pairs)
    for process in processes:
        process.communicate()
    return {**found, "answers that differ from the baseline's": different}


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare answering in batches with answering one by one.")
    parser.add_argument("--questions", type=int, default=128)
    parser.add_argument("--run", type=Path, help="a finished run of tiny-cpu")
    parser.add_argument("--mmwp", type=Path, help="folder with MMWP's files, to time all of MMWP too")
    parser.add_argument("--limit", type=int, help="answer this many questions of MMWP in each language; write no result")
    parser.add_argument("--baseline", type=Path, metavar="CHECKOUT", help="a checkout with the code of before")
    parser.add_argument("--by-turns", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    arguments = parser.parse_args()
    if arguments.by_turns:
        answer_by_turns(arguments.questions)
        return 0
    if arguments.limit:
        part = whole_mmwp(arguments.mmwp, arguments.run, arguments.limit)
        for name, value in part.items():
            print(f"{name}: {value:.4g}")
        print(f"all of MMWP at this speed: {48 * 811 / part['MMWP, 48 languages: questions a second'] / 60:.1f} minutes")
        return 0
    torch.set_num_threads(1)
    recipe = load_recipe("tiny-cpu")
    most_new, budget = recipe.evaluate.max_new_tokens, recipe.evaluate.tokens_per_batch
    found: dict[str, float] = {}

    texts = [
        question.text
        for one in load_benchmarks([BenchmarkSettings(name="world", limit=arguments.questions)], (), seed=0)
        for question in one.questions
    ]

    def llm_with(batch_tokens: int) -> Responder:
        options = AnswerOptions(template="plain", max_new_tokens=most_new, batch_tokens=batch_tokens)
        return load_answerer("stand-in:llm", options).responder

    by_budget = {size: llm_with(size) for size in (1, budget)}

    def by_llm(rows: list[str], *, batch_tokens: int) -> list[str]:
        return by_budget[batch_tokens].generate(rows)

    different = compared("LLM alone", by_llm, texts, found, budget)

    device = torch.device("cpu")
    run = arguments.run
    bridge = load_system(recipe, run, LIFTED, device=device) if run else load_bridge(recipe, device=device)
    rows = tokenisation_for(bridge, recipe, run).prompts(texts)

    def by_bridge(rows: list[Any], *, batch_tokens: int) -> list[str]:
        return bridge.generate(rows, max_new_tokens=most_new, batch_tokens=batch_tokens)

    different += compared("bridged", by_bridge, rows, found, budget)
    found["different answers"] = different
    goals = dict(GOALS)
    extra = {}
    if arguments.baseline:
        extra["baseline"] = commit_of(arguments.baseline)
        found |= beside_baseline(arguments.baseline, arguments.questions)
        goals |= BASELINE_GOALS
    if arguments.mmwp:
        found |= whole_mmwp(arguments.mmwp, run, None)
        goals |= MMWP_GOAL
    content = {"goals": goals, "summary": found, "questions": len(texts), "batch_tokens": budget}
    keep("evaluation_throughput-baseline" if arguments.baseline else "evaluation_throughput", extra | content)
    for name, value in found.items():
        print(f"{name}: {value:.4g}")
    return 0 if report_goals(found, goals) or not arguments.check else 1


if __name__ == "__main__":
    raise SystemExit(main())
