"""Make the stand-in models again: `python -m lilift.stand_ins.make` (about a quarter of an hour on one core).

The same seed gives the same models on the same versions and number of threads. `RECORD.json` beside them says how they were
made and how well the LLM solves English text problems. What it saw before: every sentence pattern in English, those of the test
included, as a downloaded LLM has seen English in every phrasing; but no problem with a held-out pair of numbers, which it knows
from bare sums only; and no foreign word. The encoder saw monolingual text of training patterns.
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
    """Train and write the stand-ins that are asked for."""
    parser = argparse.ArgumentParser(description="Train the stand-in models.")
    parser.add_argument("parts", nargs="*", choices=["llm", "encoder"], help="which (default: both)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to write them")
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
