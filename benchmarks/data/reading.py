"""Reading data files: time and memory of this build beside those of another checkout, each in a process of its own.

python -m benchmarks reading --check --baseline OTHER_CHECKOUT

The benchmark first writes files with the columns of MetaMathQA: JSON Lines of `--size`, and a twentieth of it in other formats.
Both builds then read every file in turn, from the first byte to the list of examples (`load_instructions`), so that both meet
the same busy machine. The result holds medians of processor and clock seconds, and of the peak of resident memory, examples
included. In the file whose rows are all the same, lilift keeps one example, so that its peak is that of the reader alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.shared.result_files import commit_of, keep, report_goals

ROOT = Path(__file__).resolve().parents[2]
GOALS = {
    "processor time, jsonl": ("at most", 1.0),
    "clock time, jsonl": ("at most", 1.0),
    "peak memory, jsonl": ("at most", 1.0),
    "peak memory, jsonl of one row": ("at most", 1.0),
}
UNITS = {"MB": 10**6, "GB": 10**9}
WORKER = """
import json, resource, sys, time
try:
    from lilift.data.texts.instructions import load_instructions
except ImportError:  # before the modules were moved into folders
    from lilift.data.instructions import load_instructions
from lilift.recipe.schema import InstructionSettings
clock, processor = time.perf_counter(), time.process_time()
examples, report = load_instructions(InstructionSettings(source=sys.argv[1]), seed=0)
print(json.dumps({
    "clock": time.perf_counter() - clock, "processor": time.process_time() - processor,
    "MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "read": report.read, "kept": report.kept,
}))
"""


def rows(size: int) -> Iterator[dict[str, str]]:
    """Rows like MetaMathQA's, of about `size` bytes in all."""
    draw = random.Random(0)
    words = ["".join(draw.choices("etaoinshrdlucmfwyp", k=draw.randint(2, 9))) for _ in range(5000)]
    texts = [" ".join(draw.choices(words, k=165)) for _ in range(1000)]
    written = number = 0
    while written < size:
        text = texts[number % len(texts)]
        query, response = f"{number} {text[:220]}?", f"{text[220:]}\nThe answer is: {number}"
        yield {"type": "GSM_Rephrased", "query": query, "original_question": query[:100], "response": response}
        written += len(query) + len(response) + 190
        number += 1


def write_jsonl(path: Path, size: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows(size))


def write_one_row(path: Path, size: int) -> None:
    """The same row again and again."""
    line = json.dumps(next(rows(1))) + "\n"
    with path.open("w", encoding="utf-8") as file:
        for _ in range(size // len(line)):
            file.write(line)


def write_json(path: Path, size: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows(size)):
            file.write(("[" if number == 0 else ",\n") + json.dumps(row))
        file.write("]")


def write_csv(path: Path, size: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, next(rows(1)))
        writer.writeheader()
        writer.writerows(rows(size))


def write_parquet(path: Path, size: int) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(list(rows(size))), path)


WRITERS: dict[str, tuple[str, float, Callable[[Path, int], None]]] = {
    "jsonl": ("all.jsonl", 1.0, write_jsonl),
    "jsonl of one row": ("one.jsonl", 0.05, write_one_row),
    "json": ("list.json", 0.05, write_json),
    "csv": ("table.csv", 0.05, write_csv),
    "parquet": ("table.parquet", 0.05, write_parquet),
}


def read_with(checkout: Path, path: Path) -> dict[str, float]:
    """What a build takes for a file, in a fresh process."""
    environment = {**os.environ, "PYTHONPATH": f"{checkout}{os.pathsep}{checkout / 'kernels'}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(path)], env=environment, cwd=checkout, capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def size_of(text: str) -> int:
    unit = text[-2:].upper()
    if unit not in UNITS:
        raise argparse.ArgumentTypeError("give a size such as 200MB or 1GB")
    return int(float(text[:-2]) * UNITS[unit])


def main() -> int:
    parser = argparse.ArgumentParser(description="Time and memory of reading data files.")
    parser.add_argument("--size", type=size_of, default="1GB", help="bytes of the JSON Lines file (default: 1GB)")
    parser.add_argument("--baseline", type=Path, help="another checkout, to compare with")
    parser.add_argument("--repeats", type=int, default=3, help="pairs of runs a file (default: 3)")
    parser.add_argument("--check", action="store_true", help="exit 1 where a goal is not met")
    arguments = parser.parse_args()
    builds = {"this build": ROOT}
    if arguments.baseline is not None:
        builds["baseline"] = arguments.baseline.expanduser().resolve()

    summary: dict[str, float] = {}
    files: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="lilift-reading-") as folder:
        for kind, (name, share, write) in WRITERS.items():
            path = Path(folder) / name
            write(path, int(arguments.size * share))
            runs: dict[str, list[dict[str, float]]] = {build: [] for build in builds}
            for _ in range(arguments.repeats):
                for build, checkout in builds.items():
                    runs[build].append(read_with(checkout, path))
            found = {build: medians(taken) for build, taken in runs.items()}
            files[kind] = {"bytes": path.stat().st_size, "medians": found, "runs": runs}
            path.unlink()
            for build, taken in found.items():
                print(f"{kind}, {build}: " + ", ".join(f"{key} {value:,.1f}" for key, value in taken.items()), flush=True)
            if "baseline" in found:
                mine, other = found["this build"], found["baseline"]
                summary[f"processor time, {kind}"] = mine["processor"] / other["processor"]
                summary[f"clock time, {kind}"] = mine["clock"] / other["clock"]
                summary[f"peak memory, {kind}"] = mine["MiB"] / other["MiB"]

    baseline = commit_of(builds["baseline"]) if "baseline" in builds else None
    sys.argv = [baseline if one == str(arguments.baseline) and baseline else one for one in sys.argv]
    keep("reading", {"baseline": baseline, "goals": GOALS, "summary": summary, "files": files})
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
