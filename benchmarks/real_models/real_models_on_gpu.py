"""The experiment on real models on a GPU, in two minutes: as many of its systems as the time allows.

python -m benchmarks real_models_on_gpu --models models --data FOLDER --check
python -m benchmarks real_models_on_gpu --device cpu --models models --data FOLDER      # a rehearsal: few steps, few sentences

It downloads nothing. MODELS is what `python -m benchmarks unpack_models` writes, FOLDER has data in a form of real_data.py. The
systems, their steps and the sentences are those of `python -m benchmarks real_models`, in the order of what is asked first. One
starts only if as much time is left as the longest one has taken.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.real_models.real_models import GOALS, Setup, goals_of, summarise, table_lines, train_and_ask
from benchmarks.shared.result_files import keep, report_goals

ORDER = ("bridge", "llm-alone", "reconstruct", "mixed", "soft+text", "english-only", "every-state")
"""The first two make the comparisons that the experiment is for."""
ENCODER, LLM = "e5", "smollm2"
CARD = "8gb"  # it fits the smallest
REHEARSAL = ("align.max_steps=2", "transfer.max_steps=2")


def missing(arguments: argparse.Namespace) -> str:
    """What is not there, as a reason to leave the experiment out; empty if all is there."""
    for folder in (arguments.models / ENCODER, arguments.models / LLM, arguments.data):
        if not folder.is_dir():
            return f"no folder {folder.name} for the experiment (LILIFT_REAL_MODELS, LILIFT_SHARED_DATA)"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"], help="cpu: rehearse with few steps")
    models = Path(os.environ.get("LILIFT_REAL_MODELS", "models"))
    parser.add_argument("--models", type=Path, default=models, help="default: $LILIFT_REAL_MODELS, or models")
    data = Path(os.environ.get("LILIFT_SHARED_DATA", "real-models/data"))
    parser.add_argument("--data", type=Path, default=data, help="default: $LILIFT_SHARED_DATA, or real-models/data")
    parser.add_argument("--seconds", type=float, default=110, help="start nothing that would end later")
    parser.add_argument("--output", type=Path, help="file for the JSON (default: in benchmarks/results)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    arguments = parser.parse_args()
    on_card = arguments.device == "cuda"
    if reason := missing(arguments):
        print(reason)
        if arguments.output is not None:
            arguments.output.write_text(json.dumps({"reason": reason}), encoding="utf-8")
        return 0
    began = time.monotonic()
    runs: list[dict[str, Any]] = []
    seconds: dict[str, float] = {}
    summary: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as work:
        setup = Setup(
            str((arguments.models / ENCODER).resolve()),
            str((arguments.models / LLM).resolve()),
            arguments.data.resolve(),
            Path(work),
            sentences=51 if on_card else 16,
            settings=[f"card={CARD}"] if on_card else REHEARSAL,
        )
        for name in ORDER:
            started = time.monotonic()
            if seconds and started - began + max(seconds.values()) > arguments.seconds:
                print(f"no time is left for {name}")
                break
            runs += train_and_ask(name, 0, setup)
            seconds[name] = round(time.monotonic() - started, 1)
            table = summarise(runs)
            summary = goals_of(table)
            print(f"{name}: {seconds[name]} s")
            content = {"goals": GOALS, "summary": summary, "table": table, "seconds": seconds, "runs": runs}
            keep("real_models_on_gpu", content, arguments.output)
    print("\n".join(table_lines(table)))
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
