"""Trains the stand-in models again: `python -m lilift.stand_ins.make` (about half an hour on one core, see `RECORD.json`).

The same seed gives the same models with the same versions and the same number of threads. `RECORD.json` beside a model records
how it was trained, and how well the LLM solves English text problems.

The LLM has seen every sentence pattern in English, including those of the test, because a downloaded LLM has seen English in
every phrasing. It has seen no problem with a held-out pair of numbers: it knows these pairs only from bare sums. It has seen no
foreign word. The encoder has seen monolingual text with the training patterns.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from lilift.stand_ins import small_encoder, small_llm

FOLDER = Path(__file__).parent
PACKAGES = ("torch", "transformers", "tokenizers", "sentencepiece")


def main() -> None:
    """Train and write the stand-ins that the command line names."""
    parser = argparse.ArgumentParser(description="Train the stand-in models.")
    parser.add_argument("parts", nargs="*", choices=["llm", "encoder"], help="models to train (default: both)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder to write (default: this package)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for part in arguments.parts or ("llm", "encoder"):
        folder = arguments.folder / part
        folder.mkdir(parents=True, exist_ok=True)
        if part == "llm":
            llm_size = small_llm.LLMSize()
            record, size = small_llm.make(llm_size, arguments.seed, folder), asdict(llm_size)
        else:
            encoder_size = small_encoder.EncoderSize()
            record, size = small_encoder.make(encoder_size, arguments.seed, folder), asdict(encoder_size)
        record |= {"seed": arguments.seed, "size": size, "machine": platform.machine(), "threads": torch.get_num_threads()}
        record["versions"] = {package: version(package) for package in PACKAGES}
        (folder / "RECORD.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
