"""Compare planned with measured memory of whole runs on a CPU, with the shapes of real models and random weights.

python -m benchmarks cpu_memory --check                              # four models, an hour on two cores
python -m benchmarks cpu_memory --models smollm2-135m --quantisations nf4

Each run is `lilift recipe run` in a process of its own: it reads instructions from a file, trains both stages for two steps and
answers questions. The encoder has the shape of multilingual-e5-small (118M parameters), stored in float16. The figures are the
process's resident memory, with Python and all libraries. The result is written after each run; `--keep` adds to the file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, BertConfig, BertModel

from benchmarks.shared.result_files import FOLDER, keep, report_goals
from lilift.memory.plan import Plan
from lilift.memory.planned_card import MIB
from lilift.model.sources import model_folder_or_hub
from lilift.phases.rehearsals import plan_recipe
from lilift.recipe.load import load_recipe

LLMS: dict[str, dict[str, Any]] = {
    "tiny-cpu": {},  # the recipe's own stand-ins
    "smollm2-135m": {
        "model_type": "llama",
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "tie_word_embeddings": True,
    },
    "qwen2.5-0.5b": {
        "model_type": "qwen2",
        "vocab_size": 151936,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
}
ENCODER = {
    "vocab_size": 250037,
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "pad_token_id": 0,
}
PHASES = ("align", "transfer", "evaluate")
ROWS = 40
GOALS = {
    "most measured beyond the plan, share": ("at most", 0.0),
    "furthest measured from the plan, models over 100M parameters, share": ("at most", 0.10),
}


def write_models(folder: Path, name: str) -> None:
    """Random weights of an LLM, and of the encoder, with the stand-ins' tokenizers, which need fewer rows."""
    torch.manual_seed(0)
    if not (folder / name).exists():
        AutoModelForCausalLM.from_config(AutoConfig.for_model(**LLMS[name]), dtype=torch.bfloat16).save_pretrained(
            folder / name
        )
        _copy_tokenizer("llm", folder / name)
    if not (folder / "encoder").exists():
        BertModel(BertConfig(**ENCODER), add_pooling_layer=False).half().save_pretrained(folder / "encoder")
        _copy_tokenizer("encoder", folder / "encoder")


def _copy_tokenizer(stand_in: str, folder: Path) -> None:
    for file in Path(model_folder_or_hub(f"stand-in:{stand_in}")).iterdir():
        if "token" in file.name or file.suffix == ".model":
            shutil.copy(file, folder)


def write_instructions(path: Path, longest: int) -> None:
    """Rows of many lengths, up to about the longest that fits."""
    chance = random.Random(0)
    words = ["tom", "has", "apples", "and", "buys", "more", "boxes", "with", "cakes", "so", "how", "many"]
    with path.open("w", encoding="utf-8") as file:
        for number in range(ROWS):
            length = longest if number % 4 == 0 else chance.randint(longest // 4, longest)
            question, response = (" ".join(chance.choices(words, k=count)) for count in (int(0.3 * length), int(0.3 * length)))
            file.write(json.dumps({"question": f"{question} {number}?", "response": f"{response} #### {number}"}) + "\n")


def overrides_of(name: str, quantisation: str, rows: int, tokens: int, folder: Path) -> list[str]:
    """Write a model's files and the instructions, and return the changes to `tiny-cpu` that use them."""
    overrides = ["evaluate.max_new_tokens=16", "transfer.control=false", "evaluate.untrained=false", "evaluate.alignment=null"]
    overrides += ["languages=[om]", "export.formats=[]", "evaluate.benchmarks=[{name: world, limit: 4}]"]
    overrides += [f"{stage}.max_steps=2" for stage in ("align", "transfer")]
    if name == "tiny-cpu":
        return overrides
    write_models(folder, name)
    write_instructions(folder / "instructions.jsonl", tokens)
    overrides += [f"llm.model={folder / name}", f"llm.quantization={quantisation}", f"encoder.model={folder / 'encoder'}"]
    overrides += ["encoder.add_embeddings=false", f"encoder.max_tokens={tokens // 2}", f"data.max_tokens={tokens}"]
    overrides += [f"data.instructions={{source: {folder / 'instructions.jsonl'}}}", f"evaluate.tokens_per_batch={tokens}"]
    for stage in ("align", "transfer"):
        overrides += [f"{stage}.tokens_per_micro_batch={rows * tokens}", f"{stage}.tokens_per_step={rows * tokens}"]
    return overrides


def beside(planned: Plan, measured: dict[str, float]) -> dict[str, Any]:
    """Planned and measured MiB of each phase."""
    found: dict[str, Any] = {}
    for phase in PHASES:
        plan = planned.of(phase)
        peak = (planned.evaluation_bytes if phase == "evaluate" else plan.peak_bytes) / MIB
        found[phase] = {
            "planned_mib": round(peak, 1),
            "measured_mib": measured[phase],
            "share": round(measured[phase] / peak - 1, 4),
        }
        found.setdefault("parts_mib", {})[phase] = {name: round(size / MIB, 1) for name, size in plan.parts.items() if size}
    return found


def run(overrides: list[str], folder: Path) -> dict[str, float]:
    """Run the recipe in a process of its own; return the measured MiB of each phase."""
    target = folder / "run"
    shutil.rmtree(target, ignore_errors=True)
    command = [sys.executable, "-m", "lilift.cli.app", "recipe", "run", "tiny-cpu", "--run-folder", str(target)]
    done = subprocess.run(
        [*command, *(part for one in overrides for part in ("--set", one))], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    found = json.loads((target / "measured.json").read_text(encoding="utf-8"))
    return {phase: found[phase]["peak_mib"] for phase in PHASES}


def summary_of(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The figures that have goals."""
    shares = {name: [one[phase]["share"] for phase in PHASES] for name, one in found.items()}
    large = [abs(share) for name, values in shares.items() if not name.startswith("tiny-cpu") for share in values]
    summary = {"most measured beyond the plan, share": max(max(values) for values in shares.values())}
    return summary | ({"furthest measured from the plan, models over 100M parameters, share": max(large)} if large else {})


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare planned with measured memory of whole runs on a CPU.")
    parser.add_argument("--models", nargs="+", default=list(LLMS), choices=list(LLMS))
    parser.add_argument("--quantisations", nargs="+", default=["nf4", "none"], choices=["nf4", "none"])
    parser.add_argument("--rows", type=int, default=4, help="rows of the longest kind in a micro-batch")
    parser.add_argument("--tokens", type=int, default=192, help="tokens of the longest row")
    parser.add_argument("--keep", action="store_true", help="keep the runs in the result file that are not repeated")
    parser.add_argument("--plan-again", action="store_true", help="measure nothing; plan again beside the kept measurements")
    parser.add_argument("--folder", type=Path, help="keep models here (default: a temporary folder)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is not met")
    arguments = parser.parse_args()
    path = FOLDER / "cpu_memory.json"
    found = (
        json.loads(path.read_text(encoding="utf-8"))["runs"]
        if (arguments.keep or arguments.plan_again) and path.exists()
        else {}
    )
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in arguments.models:
            for quantisation in arguments.quantisations if name != "tiny-cpu" else ["nf4"]:
                title = f"{name}, {quantisation}"
                overrides = overrides_of(name, quantisation, arguments.rows, arguments.tokens, folder)
                if arguments.plan_again:
                    measured = {phase: found[title][phase]["measured_mib"] for phase in PHASES}
                else:
                    measured = run(overrides, folder)
                found[title] = beside(plan_recipe(load_recipe("tiny-cpu", overrides)), measured)
                found[title] |= {"rows": arguments.rows, "tokens": arguments.tokens} if name != "tiny-cpu" else {}
                line = ", ".join(f"{phase} {found[title][phase]}" for phase in PHASES)
                print(f"{title}: {line}", flush=True)
                keep("cpu_memory", {"goals": GOALS, "summary": summary_of(found), "runs": found})
    return 0 if report_goals(summary_of(found), GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
