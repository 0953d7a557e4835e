"""The vocabulary of an LLM's folder, from whichever tokenizer files it has.

Three kinds of files are known; anything else is refused by name, because a vocabulary that is nearly right tokenises most text
correctly and ruins the rest in silence:

- a SentencePiece model (`tokenizer.model`);
- `tokenizer.json` with byte-level BPE;
- `tokenizer.json` that a SentencePiece BPE model was converted to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lilift.export.gguf.gguf_vocabulary import REMEDY, Vocabulary, apply_added_tokens
from lilift.export.gguf.sentencepiece_model import from_sentencepiece, is_sentencepiece
from lilift.export.gguf.tokenizer_json import from_tokenizer_json
from lilift.recipe.errors import ModelError


def read_vocabulary(folder: Path, size: int) -> Vocabulary:
    """The vocabulary of an LLM's folder, filled up to the rows of its embeddings.

    Args:
        folder: a model's folder, or one with its tokenizer's files.
        size: rows of the embeddings.

    Raises:
        ModelError: the tokenizer is not known.
    """
    sentencepiece_file = folder / "tokenizer.model"
    converted = folder / "tokenizer.json"
    if sentencepiece_file.is_file() and is_sentencepiece(sentencepiece_file):
        vocabulary = from_sentencepiece(sentencepiece_file, size)
        apply_added_tokens(vocabulary, _added_tokens(folder), folder)
        return vocabulary
    if not converted.is_file():
        raise ModelError("has no tokenizer.model and no tokenizer.json", where=folder, remedy=REMEDY)
    try:
        content = json.loads(converted.read_text(encoding="utf-8"))
    except ValueError:
        raise ModelError("is damaged: not JSON", where=converted, remedy="download the model again") from None
    return from_tokenizer_json(content, size, converted)


def _added_tokens(folder: Path) -> dict[int, Mapping[str, Any]]:
    """Tokens that were added to a SentencePiece model, from whichever file tells."""
    found: dict[int, Mapping[str, Any]] = {}
    converted = folder / "tokenizer.json"
    if converted.is_file():
        found |= {token["id"]: token for token in json.loads(converted.read_text(encoding="utf-8")).get("added_tokens", [])}
    listed = folder / "added_tokens.json"
    if listed.is_file():
        found |= {
            index: {"content": text, "special": False}
            for text, index in json.loads(listed.read_text(encoding="utf-8")).items()
            if index not in found
        }
    settings = folder / "tokenizer_config.json"
    if settings.is_file():
        decoder = json.loads(settings.read_text(encoding="utf-8")).get("added_tokens_decoder", {})
        found |= {int(index): token for index, token in decoder.items()}
    return found
