"""Reads the vocabulary of a SentencePiece model (`tokenizer.model`, `spiece.model`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lilift.export.gguf.gguf_vocabulary import REMEDY, TokenType, Vocabulary, unused_vocabulary
from lilift.model.sources import SENTENCEPIECE_FILES
from lilift.recipe.errors import ModelError

# SentencePiece's own numbers for its model types.
_UNIGRAM, _BPE = 1, 2


def is_sentencepiece(path: Path) -> bool:
    """Whether a file is a SentencePiece model; some models have another kind of file under the name `tokenizer.model`."""
    from sentencepiece import SentencePieceProcessor

    try:
        SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError):
        return False
    return True


def sentencepiece_of_encoder(folder: Path, name: str) -> Path:
    """The SentencePiece file of an encoder, which an exported bridge tokenizes questions with.

    Args:
        folder: the encoder's folder.
        name: the encoder's name, for errors.

    Raises:
        ModelError: the folder has none.
    """
    found = next((folder / name for name in SENTENCEPIECE_FILES if (folder / name).is_file()), None)
    if found is None:
        raise no_sentencepiece(name)
    return found


def no_sentencepiece(name: str) -> ModelError:
    """The error for an encoder whose tokenizer is not SentencePiece."""
    return ModelError(
        "an exported bridge needs a SentencePiece file, and the encoder's tokenizer is not one",
        where=name,
        remedy="add spiece.model to the encoder's folder, or export with --to hf",
    )


def from_sentencepiece(path: Path, size: int) -> Vocabulary:
    """The vocabulary of a SentencePiece file.

    Raises:
        ModelError: the file has more tokens than the model, or is neither BPE nor unigram.
    """
    from sentencepiece import SentencePieceProcessor
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    processor = SentencePieceProcessor(model_file=str(path))
    description = ModelProto()
    description.ParseFromString(path.read_bytes())
    kind = description.trainer_spec.model_type
    if kind not in (_UNIGRAM, _BPE):
        raise ModelError("the tokenizer is neither a BPE nor a unigram model", where=path, remedy=REMEDY)
    if processor.get_piece_size() > size:
        raise ModelError(
            f"the tokenizer has {processor.get_piece_size()} tokens, more than the model's {size}",
            where=path,
            remedy="use the model's own tokenizer file",
        )
    vocabulary = unused_vocabulary(size, "llama" if kind == _BPE else "t5", "default")
    assert vocabulary.scores is not None
    for index in range(processor.get_piece_size()):
        vocabulary.tokens[index] = processor.id_to_piece(index).encode()
        vocabulary.scores[index] = processor.get_score(index)
        vocabulary.types[index] = _piece_type(processor, index)
    normalizer = description.normalizer_spec
    vocabulary.add_space_prefix = normalizer.add_dummy_prefix
    if kind == _UNIGRAM:
        vocabulary.remove_extra_whitespaces = normalizer.remove_extra_whitespaces
        vocabulary.charsmap = normalizer.precompiled_charsmap or None
    roles = {"bos": processor.bos_id(), "eos": processor.eos_id(), "unk": processor.unk_id(), "pad": processor.pad_id()}
    vocabulary.special = {role: token for role, token in roles.items() if token >= 0}
    return vocabulary


def _piece_type(processor: Any, index: int) -> int:
    if processor.is_unknown(index):
        return int(TokenType.UNKNOWN)
    if processor.is_control(index):
        return int(TokenType.CONTROL)
    if processor.is_unused(index):
        return int(TokenType.UNUSED)
    return int(TokenType.BYTE if processor.is_byte(index) else TokenType.NORMAL)
