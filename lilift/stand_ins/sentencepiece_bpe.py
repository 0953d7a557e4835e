"""Trains SentencePiece BPE models with byte fallback, and writes the same tokenizer in the `tokenizer.json` format.

At every step, a SentencePiece BPE model merges the neighbours whose joined piece has the best score. The `tokenizers` library
needs a ranked list of merges instead: every way to split a piece into two pieces of the vocabulary, in the order of the pieces'
scores.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

SPACE = "▁"

_NORMALIZER_SPEC, _PRECOMPILED_CHARSMAP = 3, 2  # field numbers in sentencepiece_model.proto


def train(text: Iterable[str], *, vocabulary: int, normalization: str, special: dict[str, int]) -> bytes:
    """Train a SentencePiece model and return the bytes of its file.

    The model splits numbers into digits, and unknown characters into bytes.

    Args:
        text: the training text.
        vocabulary: most pieces, including bytes and special pieces.
        normalization: a SentencePiece rule: `identity` keeps every space; `nmt_nfkc_cf` folds case and drops superfluous
            spaces.
        special: ids of `pad`, `unk`, `bos`, `eos`; -1 for none.
    """
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocabulary,
        hard_vocab_limit=False,
        byte_fallback=True,
        split_digits=True,
        character_coverage=1.0,
        normalization_rule_name=normalization,
        remove_extra_whitespaces=normalization != "identity",
        num_threads=1,
        minloglevel=2,
        pad_id=special["pad"],
        unk_id=special["unk"],
        bos_id=special["bos"],
        eos_id=special["eos"],
    )
    return model.getvalue()


def as_tokenizer(model: bytes, *, start: Sequence[str] = (), end: Sequence[str] = ()) -> Tokenizer:
    """The same tokenizer for the `tokenizers` library, with special tokens before and after a text.

    A test checks that both give the same tokens.
    """
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [processor.id_to_piece(index) for index in range(processor.get_piece_size())]
    ids = {piece: index for index, piece in enumerate(pieces)}
    unknown = pieces[processor.unk_id()]
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=_merges(pieces), unk_token=unknown, byte_fallback=True, fuse_unk=True))
    special = [piece for piece, index in ids.items() if processor.is_control(index) or processor.is_unknown(index)]
    tokenizer.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in special])
    steps: list[normalizers.Normalizer] = []
    if charsmap := _field(_field(model, _NORMALIZER_SPEC), _PRECOMPILED_CHARSMAP):
        steps += [
            normalizers.Precompiled(charsmap),
            normalizers.Replace(Regex("^ +| +$"), ""),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(SPACE, "merged_with_next")  # no piece continues into the next word
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[*start, "$A", *end], special_tokens=[(token, ids[token]) for token in (*start, *end)]
    )
    return tokenizer


def _merges(pieces: Sequence[str]) -> list[tuple[str, str]]:
    """Merges in order of rank. A SentencePiece BPE model lists its pieces in the order in which it learned them."""
    known = set(pieces)
    return [
        (piece[:cut], piece[cut:])
        for piece in pieces
        for cut in range(1, len(piece))
        if piece[:cut] in known and piece[cut:] in known
    ]


def _field(message: bytes, wanted: int) -> bytes:
    """The last length-delimited field with this number in a protocol buffer message; empty if there is none."""
    found, at = b"", 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            _, at = _varint(message, at)
        elif wire_type == 2:
            length, at = _varint(message, at)
            if number == wanted:
                found = message[at : at + length]
            at += length
        else:
            at += 8 if wire_type == 1 else 4
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A variable-length integer, and the position after it."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
