"""Measure what the bridge reaches in a language that the encoder has never read, and what adapting the encoder adds.

    python -m benchmarks unread_language --seeds 0 1 --folder runs/unread

The stand-in encoder is trained again without one language of the world (about ten minutes on one core), with the same settings.
Then `tiny-cpu` runs with this language alone, on four encoders:

    read        the shipped encoder, which has read the language
    unread      the encoder that has not
    lora        the same, after LoRA on lines of the language: the encoder fills in masked tokens, as in its own training
    full        the same, with all weights and the head trained

Half of the lines of an adaptation are English, so that the encoder does not forget it. A folder keeps what is done, and the
command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import MT5EncoderModel, PreTrainedTokenizerFast

from benchmarks.shared.result_files import keep
from lilift.data.world import WORLD_LANGUAGES, monolingual_text
from lilift.phases.run import RunOptions, run_recipe
from lilift.recipe.load import load_recipe
from lilift.stand_ins import small_encoder
from lilift.stand_ins.pretraining import train

ENCODERS = ("read", "unread", "lora", "full")
SETTINGS = ("transfer.control=false", "evaluate.untrained=false", "evaluate.alignment=null", "export.formats=[]")
HEAD = "head.safetensors"
RANK, LORA_RATE, FULL_RATE = 16, 2e-3, 5e-4


def pretrained(language: str, steps: int, folder: Path) -> Path:
    """The encoder that has read every language of the world but one, with its head."""
    where = folder / f"encoder-without-{language}"
    if not (where / HEAD).exists():
        where.mkdir(parents=True, exist_ok=True)
        languages = ("en", *(code for code in WORLD_LANGUAGES if code != language))
        made = small_encoder.pretrain(replace(small_encoder.EncoderSize(), steps=steps), 0, languages)
        small_encoder.write(made.model, made.tokenizer, made.sentencepiece_model, where)
        (where / "record.json").write_text(json.dumps({"loss": made.loss, "seconds": made.seconds}), encoding="utf-8")
        save_file({name: weight.contiguous() for name, weight in made.head.state_dict().items()}, where / HEAD)
    return where


def adapted(base: Path, how: str, language: str, lines: int, steps: int, folder: Path) -> tuple[Path, dict[str, float]]:
    """The encoder after an adaptation to lines of the language, and what it took."""
    where = folder / f"encoder-{how}-{language}-{lines}-{steps}"
    record = where / "record.json"
    if not record.exists():
        torch.manual_seed(1)
        size = replace(small_encoder.EncoderSize(), steps=steps)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(base)
        model = MT5EncoderModel.from_pretrained(base, dtype=torch.float32)
        weights = load_file(base / HEAD)
        head = nn.Linear(weights["weight"].shape[1], weights["weight"].shape[0])
        head.load_state_dict(weights)
        texts = [*monolingual_text(language, lines, 0), *monolingual_text("en", lines, 0)]
        rows = [tokenizer.encode(text) for text in texts]
        unseen = [tokenizer.encode(text) for text in monolingual_text(language, 300, 99)]
        rng = random.Random(f"adapt {how}")
        before = mean_loss(model, head, unseen, size)
        trained: nn.Module = model
        if how == "lora":
            trained = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear"))
            head.requires_grad_(False)
        parameters = [one for one in (*trained.parameters(), *head.parameters()) if one.requires_grad]
        loss, seconds = train(
            parameters,
            partial(small_encoder.masked_token_loss, trained, head, rows, size, rng),
            steps=steps,
            learning_rate=LORA_RATE if how == "lora" else FULL_RATE,
            label=how,
        )
        whole = trained.merge_and_unload() if how == "lora" else model
        where.mkdir(parents=True, exist_ok=True)
        small_encoder.write(whole, tokenizer, (base / "spiece.model").read_bytes(), where)
        after = mean_loss(whole, head, unseen, size)
        found = {"seconds": round(seconds, 1), "loss": loss, "unseen_loss_before": before, "unseen_loss_after": after}
        record.write_text(json.dumps(found), encoding="utf-8")
    return where, json.loads(record.read_text(encoding="utf-8"))


@torch.no_grad()
def mean_loss(model: nn.Module, head: nn.Module, rows: list[list[int]], size: small_encoder.EncoderSize) -> float:
    """Masked-token loss on texts that the encoder has not read, with the same masks in every call."""
    state = torch.get_rng_state()
    torch.manual_seed(7)
    rng = random.Random(7)
    losses = [small_encoder.masked_token_loss(model, head, rows, size, rng).item() for _ in range(20)]
    torch.set_rng_state(state)
    return sum(losses) / len(losses)


def accuracies(encoder: str, language: str, seed: int, overrides: list[str], folder: Path) -> dict[str, float]:
    """Accuracy of `tiny-cpu` with an encoder, by language."""
    settings = [f"encoder.model={encoder}", f"languages=[{language}]", f"seed={seed}", *SETTINGS, *overrides]
    run = run_recipe(load_recipe("tiny-cpu", settings), folder, RunOptions(resume=True, quiet=True))
    return {score.language: score.accuracy for score in run.scores[-1].benchmarks[0].languages}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the bridge in a language that the encoder has never read.")
    parser.add_argument("--language", default="fj", choices=[code for code in WORLD_LANGUAGES if code != "to"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--encoders", nargs="+", choices=ENCODERS, default=list(ENCODERS))
    parser.add_argument("--pretraining", type=int, default=3000, help="steps of the encoder's own training (default: 3000)")
    parser.add_argument("--lines", type=int, default=2000, help="lines of the language for an adaptation (default: 2000)")
    parser.add_argument("--steps", type=int, default=600, help="steps of an adaptation (default: 600)")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="A.B=C")
    parser.add_argument("--folder", type=Path, help="keep encoders and runs here (default: a temporary folder)")
    parser.add_argument("--output", type=Path, help="write the result here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    language = arguments.language
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        base = pretrained(language, arguments.pretraining, folder)
        locations, adaptations = {"read": "stand-in:encoder", "unread": str(base)}, {}
        for how in ("lora", "full"):
            if how in arguments.encoders:
                where, adaptations[how] = adapted(base, how, language, arguments.lines, arguments.steps, folder)
                locations[how] = str(where)
        print(json.dumps(adaptations, indent=1), flush=True)
        runs: list[dict[str, Any]] = []
        for seed in arguments.seeds:
            for name in arguments.encoders:
                where = folder / f"run-{name}-{seed}"
                found = accuracies(locations[name], language, seed, arguments.overrides, where)
                runs.append({"encoder": name, "seed": seed, "accuracy": found})
                print(
                    f"seed {seed}  {name:8}" + "".join(f"{code:>5} {100 * one:3.0f}" for code, one in found.items()), flush=True
                )
                keep(
                    "unread_language",
                    {
                        "language": language,
                        "pretraining_steps": arguments.pretraining,
                        "lines": arguments.lines,
                        "steps": arguments.steps,
                        "settings": [*SETTINGS, *arguments.overrides],
                        "encoder_size": asdict(small_encoder.EncoderSize()),
                        "adaptations": adaptations,
                        "runs": runs,
                    },
                    arguments.output,
                )


if __name__ == "__main__":
    main()
