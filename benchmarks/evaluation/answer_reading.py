"""Reading answers: responses a second of this build beside those of another checkout, in pairs in one run.

python -m benchmarks answer_reading --check --baseline OTHER_CHECKOUT

Each build has one process for the whole run. Both read the same responses in turn, again and again, so that both meet the same
busy machine. The responses are the cases of the baseline's `tests/evaluate/answers/answers.jsonl`, so they are the same for
every later build, and, with `--data FOLDER`, the worked solutions of GSM8K's test set. A pair compares processor times; the
result holds the median over the pairs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.shared.result_files import commit_of, keep, report_goals

ROOT = Path(__file__).resolve().parents[2]
CASES = Path("tests") / "evaluate" / "answers" / "answers.jsonl"
GOALS = {"speed-up, golden responses": ("at least", 2.5)}
WORKER = """
import json, sys, time
from lilift.evaluate.answers.extraction import extract_number
responses = json.loads(open(sys.argv[1], encoding="utf-8").read())
for _ in sys.stdin:
    before = time.process_time()
    for response, language in responses:
        extract_number(response, language)
    print(time.process_time() - before, flush=True)
"""


class Reader:
    """A process of one build that reads all responses once for each line that it gets."""

    def __init__(self, checkout: Path, responses: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": f"{checkout}{os.pathsep}{checkout / 'kernels'}", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(responses)],
            env=environment,
            cwd=checkout,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self) -> float:
        """Processor time of one reading of all responses."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("read\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def golden_responses(checkout: Path) -> list[tuple[str, str]]:
    """Response and language of every golden case of a checkout."""
    cases = [json.loads(line) for line in (checkout / CASES).read_text(encoding="utf-8").splitlines()]
    return [(case["response"], case["language"]) for case in cases]


def solutions(data: Path) -> list[tuple[str, str]]:
    """The worked solutions of GSM8K's test set."""
    with gzip.open(data / "gsm8k" / "test.jsonl.gz", "rt", encoding="utf-8") as file:
        return [(json.loads(line)["answer"], "en") for line in file]


def compare(builds: dict[str, Path], responses: list[tuple[str, str]], pairs: int) -> dict[str, float]:
    """Responses a second of both builds, and the median of the pairs' speed-ups."""
    with tempfile.TemporaryDirectory(prefix="lilift-answers-") as folder:
        path = Path(folder) / "responses.json"
        path.write_text(json.dumps(responses), encoding="utf-8")
        readers = {build: Reader(checkout, path) for build, checkout in builds.items()}
        for reader in readers.values():
            reader.seconds()  # compiles the patterns
        times = [{build: reader.seconds() for build, reader in readers.items()} for _ in range(pairs)]
        for reader in readers.values():
            reader.close()
    found = {build: len(responses) / statistics.median(pair[build] for pair in times) for build in builds}
    if "baseline" in builds:
        found["speed-up"] = statistics.median(pair["baseline"] / pair["this build"] for pair in times)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Responses a second whose answers are read.")
    parser.add_argument("--baseline", type=Path, help="another checkout, to compare with")
    parser.add_argument("--data", type=Path, help="folder with gsm8k/test.jsonl.gz, to read its solutions too")
    parser.add_argument("--pairs", type=int, default=31, help="readings by each build (default: 31)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    arguments = parser.parse_args()
    builds = {"this build": ROOT}
    if arguments.baseline is not None:
        builds["baseline"] = arguments.baseline.expanduser().resolve()
    texts = {"golden responses": golden_responses(builds.get("baseline", ROOT))}
    if arguments.data is not None:
        texts["GSM8K solutions"] = solutions(arguments.data)
    found = {name: compare(builds, responses, arguments.pairs) for name, responses in texts.items()}
    for name, figures in found.items():
        print(f"{name}: " + ", ".join(f"{key} {value:,.2f}" for key, value in figures.items()))
    summary = {f"speed-up, {name}": figures["speed-up"] for name, figures in found.items() if "speed-up" in figures}
    baseline = commit_of(builds["baseline"]) if "baseline" in builds else None
    hidden = {str(arguments.baseline): baseline or "", str(arguments.data): "FOLDER"}
    sys.argv = [hidden.get(one) or one for one in sys.argv]
    counts = {name: len(responses) for name, responses in texts.items()}
    keep("answer_reading", {"baseline": baseline, "goals": GOALS, "summary": summary, "responses": counts, "a second": found})
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
