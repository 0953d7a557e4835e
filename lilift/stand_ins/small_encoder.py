"""Trains the stand-in encoder: a small mT5 encoder that has read monolingual text in each language of the world.

Its pretraining fills in masked tokens of English and foreign text. No text mixes two languages, and no two texts are about the
same problem. Its tokenizer keeps frequent words of every language whole.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import MT5Config, MT5EncoderModel, PreTrainedTokenizerFast

from lilift.data.world import WORLD_LANGUAGES, monolingual_text
from lilift.stand_ins import sentencepiece_bpe
from lilift.stand_ins.pretraining import pad, train

PAD, EOS, UNK = 0, 1, 2


@dataclass(frozen=True)
class EncoderSize:
    """Shape and training of the stand-in encoder."""

    vocabulary: int = 2500
    width: int = 256
    layers: int = 2
    heads: int = 4
    texts: int = 6000
    steps: int = 3000
    rows: int = 32
    hidden: float = 0.15
    shown: float = 0.15
    learning_rate: float = 2e-3


@dataclass(frozen=True)
class PretrainedEncoder:
    """A trained encoder, with the head that fills in masked tokens and the tokenizer in both forms."""

    model: MT5EncoderModel
    head: nn.Linear
    tokenizer: PreTrainedTokenizerFast
    sentencepiece_model: bytes
    loss: float
    seconds: float


def make(size: EncoderSize, seed: int, folder: Path) -> dict[str, Any]:
    """Train the stand-in encoder, write it to `folder`, and return its record."""
    made = pretrain(size, seed, ("en", *WORLD_LANGUAGES))
    write(made.model, made.tokenizer, made.sentencepiece_model, folder)
    return {
        "parameters": sum(parameter.numel() for parameter in made.model.parameters()),
        "steps": size.steps,
        "seconds": round(made.seconds),
        "masked-token loss": round(made.loss, 4),
    }


def pretrain(size: EncoderSize, seed: int, languages: Sequence[str]) -> PretrainedEncoder:
    """Train an encoder and its tokenizer on monolingual text of these languages of the world."""
    torch.manual_seed(seed)
    rng = random.Random(f"encoder {seed}")
    texts = [text for language in languages for text in monolingual_text(language, size.texts, seed)]
    tokenizer, sentencepiece_model = make_tokenizer(texts, size.vocabulary)
    model = MT5EncoderModel(
        MT5Config(
            vocab_size=len(tokenizer),
            d_model=size.width,
            d_kv=size.width // size.heads,
            d_ff=size.width,
            num_layers=size.layers,
            num_heads=size.heads,
            dropout_rate=0.0,
            pad_token_id=PAD,
            eos_token_id=EOS,
        )
    )
    head = nn.Linear(size.width, len(tokenizer))
    rows = [tokenizer.encode(text) for text in texts]
    loss = partial(masked_token_loss, model, head, rows, size, rng)
    parameters = [*model.parameters(), *head.parameters()]
    last_loss, seconds = train(parameters, loss, steps=size.steps, learning_rate=size.learning_rate, label="encoder")
    return PretrainedEncoder(model.eval(), head, tokenizer, sentencepiece_model, last_loss, seconds)


def masked_token_loss(
    model: nn.Module, head: nn.Module, rows: Sequence[list[int]], size: EncoderSize, rng: random.Random
) -> Tensor:
    """The cross-entropy of masked and shown tokens in some rows, drawn at random."""
    ids = pad(rng.sample(rows, size.rows), PAD)  # [B, S]
    chance = torch.rand(ids.shape)
    hidden, asked = chance < size.hidden, (chance < size.hidden + size.shown) & (ids != PAD)
    states = model(input_ids=ids.masked_fill(hidden & asked, UNK), attention_mask=(ids != PAD).long()).last_hidden_state
    return nn.functional.cross_entropy(head(states[asked]), ids[asked])


def write(model: MT5EncoderModel, tokenizer: PreTrainedTokenizerFast, sentencepiece_model: bytes, folder: Path) -> None:
    """Write an encoder in bfloat16 and its tokenizer to a folder that exists."""
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "spiece.model").write_bytes(sentencepiece_model)


def make_tokenizer(text: Sequence[str], vocabulary: int) -> tuple[PreTrainedTokenizerFast, bytes]:
    """An mT5-like tokenizer (no BOS, EOS at the end, case folded), and its SentencePiece model."""
    special = {"pad": PAD, "eos": EOS, "unk": UNK, "bos": -1}
    model = sentencepiece_bpe.train(text, vocabulary=vocabulary, normalization="nmt_nfkc_cf", special=special)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=sentencepiece_bpe.as_tokenizer(model, end=["</s>"]),
        unk_token="<unk>",
        eos_token="</s>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )
    return tokenizer, model
