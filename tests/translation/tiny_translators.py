"""Small random translators, saved as a user would have them on disk."""

from __future__ import annotations

import json
import random
from pathlib import Path

import sentencepiece
import torch
import transformers
from transformers.utils import logging as transformers_logging

from lilift.model.seeding import seeded

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

TEXT = "mary has apples and buys more how many does she have now the of in a to sells books each costs dollars"
WORDS = TEXT.split()
SIZES = {
    "d_model": 24,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 3,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "init_std": 0.3,
}
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")


def sentences(count: int) -> list[str]:
    """Sentences of the small vocabulary, each with a number."""
    drawn = random.Random(0)
    return [" ".join(drawn.choices(WORDS, k=drawn.randrange(3, 12))) + f" {drawn.randrange(1000)}." for _ in range(count)]


def _sentencepiece(path: Path) -> list[str]:
    """Train a small vocabulary into a file, and return its pieces without special ones."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*sentences(300), "0 1 2 3 4 5 6 7 8 9 ? ! ,"]),
        model_prefix=str(path.with_suffix("")),
        vocab_size=120,
        model_type="bpe",
        minloglevel=2,
    )
    prefix = path.with_suffix("")
    Path(f"{prefix}.vocab").unlink()
    Path(f"{prefix}.model").replace(path)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return [processor.id_to_piece(index) for index in range(3, processor.get_piece_size())]


def save_nllb(folder: Path) -> None:
    """A random NLLB model with all its language codes."""
    folder.mkdir(parents=True)
    pieces = _sentencepiece(folder / "sentencepiece.bpe.model")
    tokenizer = transformers.NllbTokenizer(vocab={piece: place for place, piece in enumerate((*SPECIAL, *pieces))}, merges=[])
    tokenizer.save_pretrained(folder)
    _save_model(folder, len(tokenizer))


def save_m2m100(folder: Path) -> None:
    """A random M2M100 model."""
    folder.mkdir(parents=True)
    pieces = _sentencepiece(folder / "sentencepiece.bpe.model")
    vocabulary = {piece: place for place, piece in enumerate((*SPECIAL, *pieces))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    tokenizer = transformers.M2M100Tokenizer(str(folder / "vocab.json"), str(folder / "sentencepiece.bpe.model"))
    tokenizer.save_pretrained(folder)
    _save_model(folder, len(vocabulary) + 100 + 8)


def _save_model(folder: Path, vocabulary: int) -> None:
    with seeded(1):
        model = transformers.M2M100ForConditionalGeneration(transformers.M2M100Config(vocab_size=vocabulary, **SIZES))
    model.save_pretrained(folder)


def save_marian(folder: Path) -> None:
    """A random Marian model for one pair of languages."""
    folder.mkdir(parents=True)
    pieces = _sentencepiece(folder / "source.spm")
    (folder / "target.spm").write_bytes((folder / "source.spm").read_bytes())
    tokens = ["</s>", "<unk>", *pieces, "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({token: place for place, token in enumerate(tokens)}))
    tokenizer = transformers.MarianTokenizer(
        source_spm=str(folder / "source.spm"), target_spm=str(folder / "target.spm"), vocab=str(folder / "vocab.json")
    )
    tokenizer.save_pretrained(folder)
    config = transformers.MarianConfig(
        vocab_size=len(tokens),
        pad_token_id=len(tokens) - 1,
        eos_token_id=0,
        forced_eos_token_id=0,
        decoder_start_token_id=len(tokens) - 1,
        max_position_embeddings=512,
        **SIZES,
    )
    with seeded(1):
        transformers.MarianMTModel(config).save_pretrained(folder)


def reference(
    folder: Path, vocabulary: tuple[str, ...], tokens: list[list[str]], prefix: str, *, beams: int, longest: int
) -> list[list[str]]:
    """What transformers generates for tokens: the hypotheses without the start token and padding."""
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    ids = {token: place for place, token in enumerate(vocabulary)}
    forced = {"forced_bos_token_id": ids[prefix]} if prefix else {}
    found = []
    for text in tokens:
        row = torch.tensor([[ids.get(token, ids["<unk>"]) for token in text]])
        out = model.generate(row, num_beams=beams, max_new_tokens=longest, length_penalty=1.0, **forced)[0].tolist()
        found.append([token for place in out[1:] if (token := vocabulary[place]) not in ("</s>", "<pad>")])
    return found
