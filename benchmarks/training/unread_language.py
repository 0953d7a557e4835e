"""Measure what the bridge reaches in a language that the encoder has never read, and what adapting the encoder adds.

    python -m benchmarks unread_language --seeds 0 --folder runs/unread

The stand-in encoder has read every language of the world. So the unread language is one of them in disguise: in every word
of its dictionary, vowels change places with vowels and consonants with consonants, always in the same way. Its problems, word
order and dictionary stay the same. `tiny-cpu` runs with this language alone, on:

    read      the language without disguise, which the encoder has read (6,000 texts)
    unread    the language in disguise
    lora      the same, after LoRA on lines of the language: the encoder fills in masked tokens, as in its own training
    full      the same, with all weights trained

The encoder was stored without the head that fills in masked tokens. A new head is first fitted to the frozen encoder. Half of
the lines of an adaptation are English, so that the encoder does not forget it. A folder keeps what is done.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import MT5EncoderModel, PreTrainedTokenizerFast

from benchmarks.shared.result_files import keep
from lilift.data.world import WORLD_LANGUAGES, monolingual_text, world_languages
from lilift.evaluate.scores.paired_comparison import mcnemar
from lilift.model.sources import model_folder_or_hub
from lilift.phases.run import RunOptions, run_recipe
from lilift.recipe.load import load_recipe
from lilift.recipe.storage import JsonLines
from lilift.stand_ins.pretraining import pad, train
from lilift.stand_ins.small_encoder import PAD, UNK, EncoderSize

CASES = ("unread", "lora", "full", "read")
ENCODER = "stand-in:encoder"
SETTINGS = ("transfer.control=false", "evaluate.untrained=false", "evaluate.alignment=null", "export.formats=[]")
RANK, LORA_RATE, FULL_RATE, HEAD_RATE = 16, 2e-3, 5e-4, 5e-3
VOWELS, CONSONANTS = "aeiou", "bcdfghjklmnpqrstvwyz"


def disguised(word: str) -> str:
    """A word with other letters: each vowel and each consonant is the next but one of its kind."""
    moved = {
        letter: letters[(place + 2) % len(letters)] for letters in (VOWELS, CONSONANTS) for place, letter in enumerate(letters)
    }
    return "".join(moved.get(letter, letter) for letter in word.lower())


@contextmanager
def in_disguise(language: str) -> Iterator[None]:
    """The world writes problems and texts of `language` with disguised words."""
    plain = world_languages.translations

    def translations(code: str) -> dict[str, str]:
        table = plain(code)
        return {english: disguised(word) for english, word in table.items()} if code == language else table

    world_languages.translations = translations  # type: ignore[assignment]
    try:
        yield
    finally:
        world_languages.translations = plain


def write_lexicon(language: str, folder: Path) -> Path:
    """The dictionary of the language in disguise."""
    path = folder / f"en-{language}.tsv"
    pairs = world_languages.translations(language).items()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{english}\t{disguised(word)}\n" for english, word in pairs), encoding="utf-8")
    return path


@dataclass
class MaskedTexts:
    """Texts with masked tokens, drawn at random: the objective of the encoder's own training."""

    rows: list[list[int]]
    rng: random.Random
    size: EncoderSize

    def loss(self, model: nn.Module, head: nn.Module) -> Tensor:
        """Cross-entropy of some masked and some shown tokens."""
        ids = pad(self.rng.sample(self.rows, self.size.rows), PAD)  # [B, S]
        chance = torch.rand(ids.shape)
        hidden, asked = chance < self.size.hidden, (chance < self.size.hidden + self.size.shown) & (ids != PAD)
        states = model(input_ids=ids.masked_fill(hidden & asked, UNK), attention_mask=(ids != PAD).long()).last_hidden_state
        return nn.functional.cross_entropy(head(states[asked]), ids[asked])


def adapted(how: str, language: str, lines: int, steps: int, folder: Path) -> tuple[Path, dict[str, float]]:
    """The encoder after an adaptation to lines of the language, and what it took."""
    where = folder / f"encoder-{how}-{language}-{lines}-{steps}"
    record = where / "record.json"
    if not record.exists():
        torch.manual_seed(1)
        base = Path(model_folder_or_hub(ENCODER))
        tokenizer = PreTrainedTokenizerFast.from_pretrained(base)
        model = MT5EncoderModel.from_pretrained(base, dtype=torch.float32)
        head = nn.Linear(model.config.d_model, model.config.vocab_size)

        def texts(chosen: list[str]) -> MaskedTexts:
            return MaskedTexts([tokenizer.encode(text) for text in chosen], random.Random(f"adapt {how}"), EncoderSize())

        others = ("en", *(code for code in WORLD_LANGUAGES if code != language))
        known = texts([text for code in others for text in monolingual_text(code, 500, 1)])
        model.requires_grad_(False)
        train(list(head.parameters()), lambda: known.loss(model, head), steps=300, learning_rate=HEAD_RATE, label="head")
        unseen = texts(monolingual_text(language, 300, 99))
        before = mean_loss(model, head, unseen)
        model.requires_grad_(True)
        learns: nn.Module = model
        if how == "lora":
            learns = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear"))
        seen = texts([*monolingual_text(language, lines, 0), *monolingual_text("en", lines, 0)])
        parameters = [one for one in (*learns.parameters(), *head.parameters()) if one.requires_grad]
        rate = LORA_RATE if how == "lora" else FULL_RATE
        _, seconds = train(parameters, lambda: seen.loss(learns, head), steps=steps, learning_rate=rate, label=how)
        whole = learns.merge_and_unload() if how == "lora" else model
        after = mean_loss(whole, head, unseen)
        where.mkdir(parents=True, exist_ok=True)
        whole.save_pretrained(where)
        tokenizer.save_pretrained(where)
        (where / "spiece.model").write_bytes((base / "spiece.model").read_bytes())
        found = {"seconds": round(seconds), "unseen_loss_before": round(before, 3), "unseen_loss_after": round(after, 3)}
        record.write_text(json.dumps(found), encoding="utf-8")
    return where, json.loads(record.read_text(encoding="utf-8"))


@torch.no_grad()
def mean_loss(model: nn.Module, head: nn.Module, texts: MaskedTexts) -> float:
    """Masked-token loss on texts that no training has seen, with the same masks in every call."""
    state = torch.get_rng_state()
    torch.manual_seed(7)
    texts.rng.seed(7)
    losses = [texts.loss(model, head).item() for _ in range(10)]
    torch.set_rng_state(state)
    return sum(losses) / len(losses)


def accuracies(settings: list[str], folder: Path) -> dict[str, float]:
    """Accuracy of `tiny-cpu` with these settings, by language."""
    run = run_recipe(load_recipe("tiny-cpu", settings), folder, RunOptions(resume=True, quiet=True))
    return {score.language: score.accuracy for score in run.scores[-1].benchmarks[0].languages}


def measure(case: str, seed: int, arguments: argparse.Namespace, folder: Path, adaptations: dict[str, Any]) -> dict[str, float]:
    """Accuracy of one case with one seed, by language."""
    language, encoder = arguments.language, ENCODER
    lexicons = "world" if case == "read" else f"{{{language}: {write_lexicon(language, folder)}}}"
    settings = [f"languages=[{language}]", f"data.lexicons={lexicons}", f"seed={seed}", *SETTINGS, *arguments.overrides]
    where = folder / f"run-{case}-{seed}"
    if case == "read":
        return accuracies(settings, where)
    with in_disguise(language):
        if case != "unread":
            path, adaptations[case] = adapted(case, language, arguments.lines, arguments.steps, folder)
            encoder = str(path)
        return accuracies([*settings, f"encoder.model={encoder}"], where)


def against_unread(case: str, seed: int, language: str, folder: Path) -> dict[str, float]:
    """Questions in the language that only one of two runs answered right, with McNemar's exact p."""

    def right(name: str) -> dict[str, bool]:
        path = folder / f"run-{name}-{seed}" / "evaluate" / "lifted" / "world" / f"{language}.jsonl"
        return {answer["id"]: answer["correct"] for answer in JsonLines(path).read()}

    one, other = right("unread"), right(case)
    only_unread = sum(one[key] and not other[key] for key in one)
    only_case = sum(other[key] and not one[key] for key in one)
    return {"only unread": only_unread, f"only {case}": only_case, "p": round(mcnemar(only_unread, only_case), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the bridge in a language that the encoder has never read.")
    parser.add_argument("--language", default="fj", choices=list(WORLD_LANGUAGES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--lines", type=int, default=2000, help="lines of the language for an adaptation (default: 2000)")
    parser.add_argument("--steps", type=int, default=400, help="steps of an adaptation (default: 400)")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="A.B=C")
    parser.add_argument("--folder", type=Path, help="keep encoders and runs here (default: a temporary folder)")
    parser.add_argument("--output", type=Path, help="write the result here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    adaptations: dict[str, Any] = {}
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        for seed in arguments.seeds:
            for case in arguments.cases:
                found = measure(case, seed, arguments, folder, adaptations)
                run = {"case": case, "seed": seed, "accuracy": found}
                if case != "unread" and "unread" in arguments.cases[: arguments.cases.index(case)]:
                    run["paired"] = against_unread(case, seed, arguments.language, folder)
                runs.append(run)
                shown = "".join(f"{code:>5} {100 * one:3.0f}" for code, one in found.items())
                print(f"seed {seed}  {case:8}{shown}", flush=True)
                result = {
                    "language": arguments.language,
                    "pairs": len(world_languages.translations(arguments.language)),
                    "lines": arguments.lines,
                    "steps": arguments.steps,
                    "settings": [*SETTINGS, *arguments.overrides],
                    "adaptations": adaptations,
                    "runs": runs,
                }
                keep("unread_language", result, arguments.output)


if __name__ == "__main__":
    main()
