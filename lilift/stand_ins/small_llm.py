"""Trains the stand-in LLM: a small Llama that repeats and solves English word problems (see `pretraining_text`)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lilift.data.batches.tokenization import continuation_ids
from lilift.data.texts.prompt_templates import TEMPLATES
from lilift.data.world.patterns import Pattern, patterns
from lilift.data.world.problems import draw
from lilift.stand_ins import sentencepiece_bpe
from lilift.stand_ins.pretraining import pad, train
from lilift.stand_ins.pretraining_text import Passage, passage

UNK, BOS, EOS, PAD = 0, 1, 2, 3
TEMPLATE = TEMPLATES["plain"]

EncodedPassage = tuple[list[int], list[int]]
"""Prompt ids, BOS included, and response ids, EOS included."""


@dataclass(frozen=True)
class LLMSize:
    """Shape and training of the stand-in LLM."""

    vocabulary: int = 1200
    width: int = 128
    layers: int = 4
    heads: int = 4
    steps: int = 4800
    rows: int = 32
    learning_rate: float = 3e-3
    solve: float = 0.43
    repeat: float = 0.27
    clumsy: float = 0.4
    noise: float = 1.0


def make(size: LLMSize, seed: int, folder: Path) -> dict[str, Any]:
    """Train the stand-in LLM, write it to `folder`, and return its record."""
    rng = random.Random(f"llm {seed}")
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(tokenizer_text(size, seed), size.vocabulary)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.width,
            intermediate_size=3 * size.width,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            num_key_value_heads=size.heads,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            bos_token_id=BOS,
            eos_token_id=EOS,
            pad_token_id=PAD,
        )
    )
    batches = _batches(tokenizer, size, rng)

    def loss() -> Tensor:
        rows = next(batches)
        ids = pad([prompt + response for prompt, response in rows], PAD)  # [B, T]
        labels = pad([[-100] * len(prompt) + response for prompt, response in rows], -100)[:, 1:]  # [B, T - 1]
        given = torch.tensor([len(prompt) for prompt, _ in rows])[:, None] > torch.arange(ids.shape[1])  # [B, T]
        inputs = blurred(model.model.embed_tokens(ids), given, size.noise)
        mask = (ids != PAD).long()
        states = model.model(inputs_embeds=inputs, attention_mask=mask).last_hidden_state[:, :-1]  # [B, T - 1, D]
        labelled = labels != -100
        return nn.functional.cross_entropy(model.lm_head(states[labelled]), labels[labelled])

    last_loss, seconds = train(list(model.parameters()), loss, steps=size.steps, learning_rate=size.learning_rate, label="llm")
    model.eval()
    model.generation_config.eos_token_id = EOS
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    model.to(torch.float32)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": size.steps,
        "seconds": round(seconds),
        "loss": round(last_loss, 5),
        "accuracy": accuracies(model, tokenizer, seed),
    }


def blurred(embeddings: Tensor, where: Tensor, most: float) -> Tensor:
    """Embeddings [B, T, D] with noise at `where` [B, T]: none in half of the rows, in others up to `most` times their size.

    A large LLM understands vectors that belong to no token. A small LLM learns this from noise.
    """
    size = embeddings.detach().square().mean().sqrt() * most * (2 * torch.rand(len(embeddings), 1, 1) - 1).clamp_min(0)
    return embeddings + where[..., None] * size * torch.randn_like(embeddings)


def tokenizer_text(size: LLMSize, seed: int) -> list[str]:
    """The training text of the tokenizer: passages, joined as the template joins them."""
    passages = _passages(size, random.Random(f"llm tokenizer {seed}"))
    drawn = [next(passages) for _ in range(8000)]
    return [f"{text.question} {TEMPLATE.openers[text.kind]} {text.response}" for text in drawn]


def make_tokenizer(text: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A Llama-2-like tokenizer: SentencePiece BPE with byte fallback, and a padding token."""
    special = {"unk": UNK, "bos": BOS, "eos": EOS, "pad": PAD}
    model = sentencepiece_bpe.train(text, vocabulary=vocabulary, normalization="identity", special=special)
    return PreTrainedTokenizerFast(
        tokenizer_object=sentencepiece_bpe.as_tokenizer(model, start=["<s>"]),
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )


def _passages(size: LLMSize, rng: random.Random) -> Iterator[Passage]:
    while True:
        yield passage(rng, solve=size.solve, repeat=size.repeat, clumsy=size.clumsy)


def _batches(tokenizer: PreTrainedTokenizerFast, size: LLMSize, rng: random.Random) -> Iterator[list[EncodedPassage]]:
    """Batches of passages with similar lengths. Drawing and sorting 16 batches at a time saves a quarter of the padding."""
    passages = _passages(size, rng)
    while True:
        rows = [_encode(tokenizer, next(passages), rng) for _ in range(16 * size.rows)]
        rows.sort(key=lambda row: len(row[0]) + len(row[1]))
        batches = [rows[start : start + size.rows] for start in range(0, len(rows), size.rows)]
        rng.shuffle(batches)
        yield from batches


def _encode(tokenizer: PreTrainedTokenizerFast, text: Passage, rng: random.Random) -> EncodedPassage:
    """Encode a passage. 70% of the questions take the place of soft tokens, right before the bare opener; the others are text
    in the template, as in layout `soft+text`.
    """
    opener = TEMPLATE.openers[text.kind]
    as_soft_tokens = [text.question, opener]
    as_text = [f"{TEMPLATE.before}{text.question}{TEMPLATE.after}{opener}"]
    parts = as_soft_tokens if rng.random() < 0.7 else as_text
    prompt = [BOS, *(index for part in parts for index in tokenizer.encode(part, add_special_tokens=False))]
    return prompt, [*continuation_ids(tokenizer, opener, [text.response])[0], EOS]


def accuracies(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int, count: int = 400) -> dict[str, float]:
    """Share of solved English text problems, with training or held-out patterns and training or held-out numbers."""
    groups = {"training patterns": False, "held-out patterns": True}
    numbers = {"training numbers": False, "held-out numbers": True}
    return {
        f"{group}, {kind}": solved(
            model, tokenizer, [pattern for pattern in patterns() if pattern.held_out == held], unseen, count, seed
        )
        for group, held in groups.items()
        for kind, unseen in numbers.items()
    }


@torch.no_grad()
def solved(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    chosen: Sequence[Pattern],
    held_out_numbers: bool,
    count: int,
    seed: int,
) -> float:
    """Share of problems whose worked solution the model writes exactly, with greedy decoding."""
    rng = random.Random(f"accuracy {seed}")
    problems = [draw(rng, chosen, held_out_numbers=held_out_numbers) for _ in range(count)]
    opener = tokenizer.encode(TEMPLATE.openers["respond"], add_special_tokens=False)
    prompts = [[BOS, *tokenizer.encode(problem.question(), add_special_tokens=False), *opener] for problem in problems]
    width = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[PAD] * (width - len(prompt)) + prompt for prompt in prompts])
    output = model.generate(
        input_ids=ids, attention_mask=(ids != PAD).long(), max_new_tokens=48, do_sample=False, pad_token_id=PAD
    )
    texts = tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
    right: int = sum(text.strip() == problem.response() for text, problem in zip(texts, problems, strict=True))
    return round(right / count, 4)
