"""Measure how much of a batch is padding, and how fast lilift reads GSM8K in 21 low-resource languages.

LILIFT_SHARED_DATA=FOLDER python -m benchmarks batches --check

FOLDER holds gsm8k/train.jsonl.gz, lexicon_wechsel_wiktionary, tokenizers/llama2_sentencepiece_tokenizer.model and
sib200_flores_parallel/*.tsv.gz, as their publishers made them. The LLM's tokenizer is Llama 2's. The encoder's tokenizer is a
SentencePiece model of 48,000 pieces. This script trains it on FLORES sentences in 48 languages and GSM8K's questions, because
mT5's own needs a download. `--encoder FILE` takes another. A stage reads its rows as `lilift recipe run` does: once for the
lengths, once to count steps, then in every epoch. Seconds are processor time. Memory is the growth of a fresh process.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import sentencepiece
from transformers import AutoTokenizer

from benchmarks.shared.result_files import data_parser, keep, parse_with_data, report_goals
from lilift.data.align_tasks import AlignTasks
from lilift.data.batches.batching import SequenceShape
from lilift.data.batches.step_grouping import Position, Step, StepPlan, iterate_steps, survey_steps
from lilift.data.batches.token_cache import TokenCache
from lilift.data.batches.tokenization import Limits, Tokenisation
from lilift.data.languages import languages
from lilift.data.lexicons.english_forms import find_names
from lilift.data.lexicons.lexicon_folder import load_lexicons
from lilift.data.stage_rows import AlignRows, TransferRows
from lilift.data.switching.code_switching import CodeSwitcher
from lilift.data.texts.examples import Row
from lilift.data.texts.instructions import load_instructions
from lilift.data.texts.prompt_templates import TEMPLATES
from lilift.model.encoders.encoder_tokenizer import SentencePieceTokenizer
from lilift.recipe.schema import CodeSwitchingSettings, InstructionSettings

GOALS = {
    "least share of the LLM's tokens that are real": ("at least", 0.95),
    "stages whose batches differ with tokens remembered": ("at most", 0.0),
}
SHAPE = SequenceShape(has_bos=True, has_eos=True, latents=None)
MICRO_BATCH, EPOCHS, PIECES = 4096, 2, 48_000
# Of a token: in Llama-2-7B, whose weights are frozen (forward, again for checkpointing, backward), and in mT5-xl's encoder.
LLM_OPERATIONS, ENCODER_OPERATIONS = 3 * 2 * 6.74e9, 2 * 1.67e9
STAGES = {"align, reconstruct": 65536, "align, respond": 65536, "transfer": 32768}
TOGETHER = (1, 2, 3, 4, 6, 8)


@dataclass(frozen=True)
class Inputs:
    """The files that a process reads."""

    data: Path
    encoder: Path
    llm: Path


def train_encoder_tokenizer(data: Path, prefix: Path) -> Path:
    """A multilingual SentencePiece model with byte fallback, numbered as mT5's is."""
    sentences: list[str] = []
    for path in sorted((data / "sib200_flores_parallel").glob("*.tsv.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            sentences += [line.rstrip("\n").split("\t")[-1] for line in itertools.islice(file, 1, None)]
    with gzip.open(data / "gsm8k" / "train.jsonl.gz", "rt", encoding="utf-8") as file:
        sentences += [json.loads(line)["question"] for line in file]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_prefix=str(prefix),
        vocab_size=PIECES,
        byte_fallback=True,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return prefix.with_suffix(".model")


def llm_folder(data: Path, folder: Path) -> Path:
    """Llama 2's tokenizer as transformers loads it."""
    folder.mkdir()
    shutil.copy(data / "tokenizers" / "llama2_sentencepiece_tokenizer.model", folder / "tokenizer.model")
    settings = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def rows_of(stage: str, inputs: Inputs, cache: TokenCache | None) -> AlignRows | TransferRows:
    examples, _ = load_instructions(InstructionSettings(source=str(inputs.data / "gsm8k" / "train.jsonl.gz")), seed=0)
    tokenisation = Tokenisation(
        encoder=SentencePieceTokenizer(sentencepiece.SentencePieceProcessor(model_file=str(inputs.encoder)), [], [1], 0),
        llm=AutoTokenizer.from_pretrained(inputs.llm),
        template=TEMPLATES["metamath"],
        layout="soft",
        shape=SHAPE,
        has_llm_bos=True,
        limits=Limits(source=1024, sequence=1280, policy="drop"),
        cache=cache,
    )
    if stage == "transfer":
        return TransferRows({"english": examples}, tokenisation)
    low = [code for code, known in languages().items() if known.tier == "low"]
    folder = inputs.data / "lexicon_wechsel_wiktionary"
    lexicons = load_lexicons({code: str(folder / f"{languages()[code].name.lower()}.txt.gz") for code in low})
    names = find_names(example.question for example in examples)
    switcher = CodeSwitcher(lexicons, CodeSwitchingSettings(), seed=0, names=names)
    target = "respond" if stage == "align, respond" else "reconstruct"
    return AlignRows({"switched": examples}, tokenisation, AlignTasks(switcher, {target: 1.0}, 0))


def plan_of(stage: str) -> StepPlan:
    return StepPlan(SHAPE, True, STAGES[stage], MICRO_BATCH, seed=0)


def epoch_of(rows: AlignRows | TransferRows, plan: StepPlan, epoch: int) -> Iterator[Step]:
    steps = iterate_steps(rows, plan, Position(epoch))
    return itertools.takewhile(lambda step: step.position.epoch == epoch, steps)


def read(stage: str, inputs: Inputs, remembering: bool) -> dict[str, Any]:
    """Read a stage's rows in the same way as training, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.sqlite"
        rows, plan = rows_of(stage, inputs, TokenCache(path) if remembering else None), plan_of(stage)
        # Linux forgets the peak that it inherited from the parent process and that of loading.
        Path("/proc/self/clear_refs").write_text("5")
        before = psutil.Process().memory_info().rss
        digest = hashlib.sha256()
        seconds: dict[str, float] = {}

        def timed(name: str, what: Callable[[], Any]) -> None:
            started = time.process_time()
            what()
            seconds[name] = round(time.process_time() - started, 2)

        def train(epoch: int) -> None:
            for step in epoch_of(rows, plan, epoch):
                digest.update(repr((step.micro_batches, step.row_ids)).encode())

        timed("lengths", rows.lengths)
        timed("counting steps", lambda: survey_steps(rows, plan, epochs=EPOCHS, max_steps=None))
        for epoch in range(EPOCHS):
            timed(f"epoch {epoch + 1}", lambda epoch=epoch: train(epoch))
        return {
            "seconds": seconds | {"together": round(sum(seconds.values()), 2)},
            "MiB more at most": round((highest_memory() - before) / 2**20, 1),
            "MiB on the disk": round(path.stat().st_size / 2**20, 1) if remembering else 0.0,
            "sha256 of the batches": digest.hexdigest(),
        }


def highest_memory() -> int:
    """The most memory that this process has held, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def shares(micro_batches: Sequence[Sequence[Row]]) -> dict[str, float]:
    """The share of the two models' batches that is not padding, and the encoder's share of a step's arithmetic."""
    packed = [[SHAPE.packed_length(row, has_llm_bos=True) for row in rows] for rows in micro_batches]
    encoded = [[len(row.encoder_ids) for row in rows] for rows in micro_batches]
    llm, encoder = (sum(max(lengths) * len(lengths) for lengths in found) for found in (packed, encoded))
    operations = llm * LLM_OPERATIONS + encoder * ENCODER_OPERATIONS
    return {
        "LLM": round(sum(map(sum, packed)) / llm, 4),
        "encoder": round(sum(map(sum, encoded)) / encoder, 4),
        "micro-batches": len(micro_batches),
        "encoder's share of the arithmetic": round(encoder * ENCODER_OPERATIONS / operations, 4),
        "operations": operations,
    }


def reordered(micro_batches: Sequence[Sequence[Row]], together: int) -> list[list[Row]]:
    """New micro-batches from groups of `together`, each group sorted by the encoder's lengths."""
    by_length = sorted(micro_batches, key=lambda rows: SHAPE.packed_length(rows[-1], has_llm_bos=True))
    found: list[list[Row]] = []
    for start in range(0, len(by_length), together):
        group = [row for rows in by_length[start : start + together] for row in rows]
        found.append([])
        longest = 0
        for row in sorted(group, key=lambda row: len(row.encoder_ids)) if together > 1 else group:
            longest = max(longest, SHAPE.packed_length(row, has_llm_bos=True))
            if (len(found[-1]) + 1) * longest > MICRO_BATCH:
                found.append([])
                longest = SHAPE.packed_length(row, has_llm_bos=True)
            found[-1].append(row)
    return found


def orders(stage: str, inputs: Inputs) -> dict[str, dict[str, float]]:
    """The shares with lilift's order of rows, and with rows sorted by the encoder's lengths as well."""
    steps = epoch_of(rows_of(stage, inputs, None), plan_of(stage), 0)
    micro_batches = [rows for step in steps for rows in step.micro_batches]
    found = {"as it is": shares(micro_batches)}
    for together in TOGETHER[1:]:
        found[f"groups of {together}"] = shares(reordered(micro_batches, together))
    operations = found["as it is"]["operations"]
    for one in found.values():
        one["operations beside it"] = round(one.pop("operations") / operations, 4)
    return found


def main() -> int:
    parser = data_parser("What batches hold, and what reading them takes.")
    parser.add_argument("--encoder", type=Path, help="SentencePiece file of the encoder (default: train one)")
    arguments = parse_with_data(parser)
    results: dict[str, Any] = {}
    alone = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        encoder = arguments.encoder or train_encoder_tokenizer(arguments.data, Path(folder) / "encoder")
        inputs = Inputs(arguments.data, encoder, llm_folder(arguments.data, Path(folder) / "llm"))
        for stage in STAGES:
            found = results[stage] = {"real": orders(stage, inputs)}
            for name, remembering in (("without", False), ("remembered", True)):
                with ProcessPoolExecutor(1, alone) as process:
                    found[name] = process.submit(read, stage, inputs, remembering).result()
            print(f"{stage}:")
            for order, share in found["real"].items():
                print(f"  {order}: {share}")
            for name in ("without", "remembered"):
                print(f"  {name}: {found[name]}")
    same = [
        found["without"]["sha256 of the batches"] == found["remembered"]["sha256 of the batches"] for found in results.values()
    ]
    summary = {
        "least share of the LLM's tokens that are real": min(found["real"]["as it is"]["LLM"] for found in results.values()),
        "least share of the encoder's": min(found["real"]["as it is"]["encoder"] for found in results.values()),
        "stages whose batches differ with tokens remembered": float(same.count(False)),
    }
    keep("batches", {"goals": GOALS, "summary": summary, "stages": results})
    return 0 if report_goals(summary, GOALS) or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
