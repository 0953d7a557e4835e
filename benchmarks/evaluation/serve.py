"""Answers a second of `lilift serve` with several clients, beside another checkout's and beside llama.cpp's own server.

python -m benchmarks serve EXPORT --baseline OTHER_CHECKOUT --check

Each server is a process of its own and answers on the loopback interface. The clients are threads of this process, each with
one connection; all of them ask the questions of the benchmark `world`. The servers take turns, a few seconds each, so that all
meet the same busy machine. llama.cpp's server is the one inside the package `xllamacpp`, with one thread, with which it is
fastest for so small a model. It runs the export's LLM file alone, without an encoder, and writes as many tokens for each answer
as lilift does on average. The first turn asks one question at a time; the answers of later turns must be the same.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.shared.result_files import commit_of, keep, report_goals

ROOT = Path(__file__).resolve().parents[2]
THIS, BASELINE, LLAMA_CPP = "this build", "baseline", "llama.cpp"
GOALS = {
    "times as many answers as the baseline": ("at least", 3.0),
    "time of an answer, in llama.cpp's": ("at most", 1.2),
    "answers that differ from those alone": ("at most", 0.0),
}
LLAMA_CPP_SERVER = """
import sys
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_parallel, threads = int(sys.argv[2]), int(sys.argv[3])
params.n_ctx, params.n_gpu_layers, params.warmup, params.verbosity = 512 * params.n_parallel, 0, True, -1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
server = xllamacpp.Server(params)
print("listening on", server.listening_address, flush=True)
sys.stdin.read()
"""


@dataclass
class Server:
    """A running server, and what its clients got."""

    host: str
    settings: dict[str, Any]
    alone: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)  # answers a second, one for each turn
    different: int = 0

    def ask(self, connection: http.client.HTTPConnection, question: str) -> tuple[str, int]:
        """The answer to a question, and its number of tokens."""
        body = json.dumps({"messages": [{"role": "user", "content": question}], **self.settings})
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = json.loads(response.read())
        if response.status != 200:
            raise SystemExit(f"{self.host} answers {response.status}: {content}")
        return content["choices"][0]["message"]["content"], content["usage"]["completion_tokens"]

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, timeout=120)

    def ask_alone(self, questions: Sequence[str]) -> None:
        """Ask one question at a time, and remember the answers."""
        connection = self.connection()
        answers = [self.ask(connection, question) for question in questions]
        self.alone, self.tokens = [text for text, _ in answers], [tokens for _, tokens in answers]
        connection.close()

    def turn(self, questions: Sequence[str], clients: int, seconds: float) -> None:
        """Let all clients ask for some seconds."""
        places = itertools.count()
        counts = [0] * clients
        end = time.monotonic() + seconds

        def client(number: int) -> None:
            connection = self.connection()
            while time.monotonic() < end:
                place = next(places) % len(questions)
                text, _ = self.ask(connection, questions[place])
                self.different += text != self.alone[place]
                counts[number] += 1
            connection.close()

        threads = [threading.Thread(target=client, args=[number]) for number in range(clients)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.rates.append(sum(counts) / (time.monotonic() - began))


@contextmanager
def running(command: list[str], checkout: Path, before: str) -> Iterator[str]:
    """The host and port of a server that prints its address after `before`."""
    environment = {**os.environ, "PYTHONPATH": f"{checkout}{os.pathsep}{checkout / 'kernels'}", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = next((line for line in process.stdout if before in line), None)
        if line is None:
            raise SystemExit(f"a server did not start: {' '.join(command[:6])}")
        yield line.split(before)[1].strip().removeprefix("http://").split("/")[0]
    finally:
        process.kill()
        process.communicate()


def world_questions(limit: int) -> list[str]:
    """Questions of the benchmark `world` in the languages of `tiny-cpu`."""
    from lilift.evaluate.evaluator import load_benchmarks
    from lilift.recipe.load import load_recipe
    from lilift.recipe.schema import BenchmarkSettings

    settings = BenchmarkSettings(name="world", languages=tuple(load_recipe("tiny-cpu").languages), limit=limit)
    return [question.text for one in load_benchmarks([settings], (), seed=0) for question in one.questions]


def measure(arguments: argparse.Namespace, questions: list[str]) -> dict[str, Server]:
    """All servers after their turns."""
    description = json.loads((arguments.export / "lilift.json").read_text(encoding="utf-8"))
    kind = arguments.quant or next(iter(description["llm"]["files"]))
    file = arguments.export / description["llm"]["files"][kind]
    serve = [sys.executable, "-m", "lilift", "serve", str(arguments.export), "--quant", kind, "--port", "0"]
    serve += [] if arguments.threads is None else ["--threads", str(arguments.threads)]
    settings = {"max_tokens": arguments.max_tokens}
    with ExitStack() as stack:
        own = [*serve, "--max-requests", "64", "--parallel", str(arguments.parallel)]
        servers = {THIS: Server(stack.enter_context(running(own, ROOT, "page  ")), settings)}
        servers[THIS].ask_alone(questions)
        if arguments.baseline is not None:
            host = stack.enter_context(running([*serve, "--max-requests", "64"], arguments.baseline, "page  "))
            servers[BASELINE] = Server(host, settings)
        command = [sys.executable, "-c", LLAMA_CPP_SERVER, str(file), str(arguments.parallel), str(arguments.threads or 1)]
        tokens = max(1, round(statistics.mean(servers[THIS].tokens)))
        settings = {"max_tokens": tokens, "ignore_eos": True, "temperature": 0, "cache_prompt": False}
        servers[LLAMA_CPP] = Server(stack.enter_context(running(command, ROOT, "listening on ")), settings)
        for server in servers.values():
            server.ask_alone(questions)
            server.turn(questions, arguments.clients, 1.0)  # fills caches
            server.rates.clear()
        for _ in range(arguments.turns):
            for server in servers.values():
                server.turn(questions, arguments.clients, arguments.seconds)
    return servers


def summarise(servers: dict[str, Server]) -> dict[str, float]:
    """The medians over the turns."""
    own = servers[THIS]
    found = {
        "time of an answer, in llama.cpp's": statistics.median(
            theirs / ours for ours, theirs in zip(own.rates, servers[LLAMA_CPP].rates, strict=True)
        ),
        "answers that differ from those alone": float(own.different),
    }
    if BASELINE in servers:
        found["times as many answers as the baseline"] = statistics.median(
            ours / theirs for ours, theirs in zip(own.rates, servers[BASELINE].rates, strict=True)
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Answers a second of servers with several clients.")
    parser.add_argument("export", type=Path, help="an export of tiny-cpu with GGUF files")
    parser.add_argument("--baseline", type=Path, help="another checkout, to compare with")
    parser.add_argument("--quant", help="the GGUF file (default: the export's first)")
    parser.add_argument("--clients", type=int, default=8, help="clients at the same time (default: 8)")
    parser.add_argument("--parallel", type=int, default=8, help="answers side by side (default: 8)")
    parser.add_argument(
        "--threads", type=int, help="cores of each server's model (default: lilift's defaults; 1 for llama.cpp)"
    )
    parser.add_argument("--max-tokens", type=int, default=48, help="longest answer (default: 48)")
    parser.add_argument("--turns", type=int, default=7, help="turns of each server (default: 7)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a turn (default: 3)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    arguments = parser.parse_args()
    hidden = {str(arguments.export): "EXPORT"}
    if arguments.baseline is not None:
        arguments.baseline = arguments.baseline.expanduser().resolve()
    baseline = commit_of(arguments.baseline) if arguments.baseline is not None else None
    arguments.export = arguments.export.resolve()
    servers = measure(arguments, world_questions(limit=5))
    for name, server in servers.items():
        rates, tokens = ", ".join(f"{rate:.1f}" for rate in server.rates), statistics.mean(server.tokens)
        print(f"{name}: {statistics.median(server.rates):.1f} answers a second of {tokens:.1f} tokens ({rates})")
    summary = summarise(servers)
    if "--baseline" in sys.argv:
        sys.argv[sys.argv.index("--baseline") + 1] = baseline or ""
    sys.argv = [hidden.get(one) or one for one in sys.argv]
    keep(
        "serve",
        {
            "baseline": baseline,
            "goals": GOALS,
            "summary": summary,
            "answers a second": {name: server.rates for name, server in servers.items()},
            "tokens of an answer": {name: statistics.mean(server.tokens) for name, server in servers.items()},
        },
    )
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
