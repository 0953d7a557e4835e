"""Compare the answers of an export, run by llama.cpp without torch, with those of the run it comes from.

    python -m benchmarks export_accuracy RUN [--quant f16,q8_0,q4_0]

Exports the run, evaluates every file on the questions of the run's evaluation, and compares the number of right answers. With
`--check` it exits with 1 if a file in 16 or 8 bits differs from the run by more than one point, on average over the languages.
The export runs in a process that cannot import torch.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.shared.result_files import keep, report_goals
from lilift.cli.app import main as lilift
from lilift.phases.run_folder import recipe_of
from lilift.recipe.storage import JsonLines, read_json

MOST_POINTS = 1.0
EXACT = ("f32", "f16", "bf16", "q8_0")
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from lilift.cli.app import main
sys.exit(main(sys.argv[1:]))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run that was evaluated on `world`")
    parser.add_argument("--quant", default="f16,q8_0,q4_0", help="GGUF types of the LLM, separated by commas")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    live = world(read_json(arguments.run / "evaluate" / "scores.json")["systems"], "lifted")
    asked = {entry["language"]: entry["questions"] for entry in live["languages"]}
    rows = [row("live run", live, arguments.run / "evaluate" / "lifted", None)]
    with tempfile.TemporaryDirectory() as scratch:
        export = Path(scratch) / "export"
        if lilift(["export", str(arguments.run), "--to", "gguf", "--quant", arguments.quant, "--output", str(export)]):
            return 1
        for quantisation in arguments.quant.split(","):
            scores = evaluated(export, quantisation, asked, arguments.threads)
            folder = export / "evaluations" / "world" / f"exported-{quantisation}"
            rows.append(row(quantisation, scores, folder, arguments.run / "evaluate" / "lifted"))
    for entry in rows:
        print(f"{entry['model']:<10} {entry['points']}  mean {entry['mean']:.1f}  same answers {entry['same']}")
    found = {f"{entry['model']} points off": abs(entry["mean"] - rows[0]["mean"]) for entry in rows[1:]}
    goals = {f"{name} points off": ("at most", MOST_POINTS) for name in EXACT}
    goals = {name: goal for name, goal in goals.items() if name in found}
    trained = recipe_of(arguments.run).as_dict()
    settings = {name: trained[name] for name in ("align", "transfer", "seed")}
    keep("export_accuracy", {"goals": goals, "summary": found, "questions": asked, "rows": rows, "recipe": settings})
    return 0 if report_goals(found, goals) or not arguments.check else 1


def evaluated(export: Path, quantisation: str, asked: dict[str, int], threads: int) -> dict[str, Any]:
    """The scores of one file from `lilift eval`, in a process without torch."""
    command = [sys.executable, "-c", WITHOUT_TORCH, "eval", str(export), "--quant", quantisation, "--benchmark", "world"]
    command += ["--languages", ",".join(asked), "--limit", str(max(asked.values())), "--threads", str(threads), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return world([json.loads(done.stdout)], f"exported-{quantisation}")


def world(systems: list[dict[str, Any]], name: str) -> dict[str, Any]:
    system = next(system for system in systems if system["system"] == name)
    found: dict[str, Any] = next(scores for scores in system["benchmarks"] if scores["benchmark"] == "world")
    return found


def row(model: str, scores: dict[str, Any], folder: Path, live: Path | None) -> dict[str, Any]:
    points = {entry["language"]: round(100 * entry["accuracy"], 1) for entry in scores["languages"]}
    return {
        "model": model,
        "points": points,
        "mean": round(sum(points.values()) / len(points), 2),
        "same": None if live is None else same_answers(folder, live),
    }


def same_answers(folder: Path, live: Path) -> str:
    """How many responses are identical to those of the run."""
    same = total = 0
    for path in sorted((folder / "world").glob("*.jsonl")):
        expected = {line["id"]: line["response"].strip() for line in JsonLines(live / "world" / path.name).read()}
        for line in JsonLines(path).read():
            total += 1
            same += line["response"].strip() == expected[line["id"]]
    return f"{same} of {total}"


if __name__ == "__main__":
    sys.exit(main())
