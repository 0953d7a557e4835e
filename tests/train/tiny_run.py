"""A training run of seconds on real parts: a random mT5 encoder and a random Llama in NF4, both of a few thousand parameters.

As a script, it trains one stage and exits as the command line would:
``python tiny_run.py MODELS FOLDER STAGE [section.setting=value …]``
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import LlamaConfig, LlamaForCausalLM, MT5Config, MT5EncoderModel, PreTrainedTokenizerFast

from lilift.data.texts.examples import Row
from lilift.model.assemble_bridge import load_bridge
from lilift.model.bridge import BridgedModel
from lilift.recipe.errors import LiliftError
from lilift.recipe.load import parse_override
from lilift.recipe.schema import Recipe
from lilift.train.stage_job import StageResult
from lilift.train.stages import RunStage, run_stage
from lilift.train.training_progress import PlainProgress, StageProgress

SPECIAL = ["<pad>", "</s>", "<unk>", "<s>"]
WORDS = 24  # words of the source language, and as many of the LLM's
FIRST_WORD = len(SPECIAL)


def make_models(folder: Path) -> None:
    """Write `encoder/` and `llm/` as `save_pretrained` does."""
    torch.manual_seed(1)
    encoder = MT5Config(
        vocab_size=FIRST_WORD + WORDS, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0
    )
    MT5EncoderModel(encoder).save_pretrained(folder / "encoder")
    _tokenizer(template="$A </s>").save_pretrained(folder / "encoder")
    llm = LlamaConfig(
        vocab_size=FIRST_WORD + WORDS,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=3,
        eos_token_id=1,
        pad_token_id=0,
        initializer_range=0.1,  # with the usual 0.02 so small a model can say next to nothing
    )
    LlamaForCausalLM(llm).save_pretrained(folder / "llm")
    _tokenizer(template="<s> $A").save_pretrained(folder / "llm")


def _tokenizer(template: str) -> PreTrainedTokenizerFast:
    names = [*SPECIAL, *(["a"] + [f"w{number}" for number in range(1, WORDS)])]
    tokenizer = Tokenizer(WordLevel({name: index for index, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    special = [(name, names.index(name)) for name in ("<s>", "</s>")]
    tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=special)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", bos_token="<s>"
    )


class TinySource:
    """Rows of a few words, each answered by one of four; drawn anew in each epoch."""

    def __init__(self, rows: int = 40) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def row_name(self, index: int) -> str:
        return f"row {index}"

    def rows(self, epoch: int, indices: Sequence[int]) -> list[Row | None]:
        return [None if index == 3 else self._row(random.Random(f"{epoch} {index}")) for index in indices]

    @staticmethod
    def _row(rng: random.Random) -> Row:
        words = [rng.randrange(WORDS) for _ in range(rng.randint(2, 6))]
        source = tuple(FIRST_WORD + word for word in words)
        target = tuple(FIRST_WORD + word % 4 for word in words)
        return Row((*source, 1), (FIRST_WORD,), (*target, 1))


def make_recipe(models: Path, *overrides: str) -> Recipe:
    """A recipe for the tiny models; `overrides` are like those of ``--set``."""
    settings = {
        "name": "tiny-run",
        "card": "cpu",
        "languages": ["sw"],
        "seed": 5,
        "encoder": {"model": str(models / "encoder"), "dtype": "float32"},
        "llm": {"model": str(models / "llm"), "dtype": "float32", "gradient_checkpointing": False},
        "alignment": {},
        "data": {"instructions": {"source": "world"}, "lexicons": "world", "template": "plain", "max_tokens": 32},
        "align": _stage_settings() | {"learning_rate": 0.01},
        "transfer": _stage_settings() | {"learning_rate": 0.01, "lora": {"rank": 4, "dropout": 0.1}},
    }
    for override in overrides:
        key, value = parse_override(override)
        place = settings
        for part in key[:-1]:
            place = place[part]  # type: ignore[assignment]
        place[key[-1]] = value
    return Recipe.model_validate(settings)


def _stage_settings() -> dict[str, object]:
    return {
        "max_steps": 12,
        "epochs": 100,
        "optimizer": "adamw",
        "schedule": "cosine",
        "warmup_ratio": 0.2,
        "weight_decay": 0.01,
        "tokens_per_step": 150,
        "tokens_per_micro_batch": 64,
        "checkpoint_every": 3,
        "log_every": 2,
    }


def train(
    recipe: Recipe,
    folder: Path,
    stage: RunStage,
    progress: StageProgress,
    *,
    resume: bool = True,
    bridges: list[BridgedModel] | None = None,
) -> tuple[BridgedModel, StageResult]:
    """Load the models and train one stage; the bridge is put into `bridges` before training begins."""
    bridge = load_bridge(recipe, device="cpu")
    if bridges is not None:
        bridges.append(bridge)
    return bridge, run_stage(bridge, TinySource(), recipe, folder, name=stage, progress=progress, resume=resume)


def train_in_process(models: Path, folder: Path, stage: str, overrides: Sequence[str], kill_at_flush: int | None) -> None:
    """What a child process does: train as the command line would, and exit with its code.

    With `kill_at_flush`, the process kills itself where the disk is flushed for the so-manieth time: while a file, a checkpoint
    or the result is half written.
    """
    torch.set_num_threads(1)
    if kill_at_flush is not None:
        _kill_at_flush(kill_at_flush)
    try:
        train(make_recipe(models, *overrides), folder, stage, PlainProgress(_say, every_seconds=0.0))
    except LiliftError as error:
        _say(error.line())
        sys.exit(error.exit_code)


def _kill_at_flush(number: int) -> None:
    flush, calls = os.fsync, itertools.count(1)

    def killing(descriptor: int) -> None:
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(descriptor)

    os.fsync = killing


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    train_in_process(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4:], None)
