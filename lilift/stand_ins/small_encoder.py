"""Trains the stand-in encoder: a small mT5 encoder that has read monolingual text in each language of the world.

Its pretraining fills in masked tokens of English and foreign text. No text mixes two languages, and no two texts are about the
same problem. Its tokenizer keeps frequent words of every language whole.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
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


def make(size: EncoderSize, seed: int, folder: Path) -> dict[str, Any]:
    """Train the stand-in encoder, write it to `folder`, and return its record."""
    torch.manual_seed(seed)
    rng = random.Random(f"encoder {seed}")
    texts = [text for language in ("en", *WORLD_LANGUAGES) for text in monolingual_text(language, size.texts, seed)]
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

    def loss() -> Tensor:
        ids = pad(rng.sample(rows, size.rows), PAD)  # [B, S]
        chance = torch.rand(ids.shape)
        hidden, asked = chance < size.hidden, (chance < size.hidden + size.shown) & (ids != PAD)
        states = model(input_ids=ids.masked_fill(hidden & asked, UNK), attention_mask=(ids != PAD).long()).last_hidden_state
        return nn.functional.cross_entropy(head(states[asked]), ids[asked])

    parameters = [*model.parameters(), *head.parameters()]
    last_loss, seconds = train(parameters, loss, steps=size.steps, learning_rate=size.learning_rate, label="encoder")
    model.eval()
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "spiece.model").write_bytes(sentencepiece_model)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": size.steps,
        "seconds": round(seconds),
        "masked-token loss": round(last_loss, 4),
    }


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
