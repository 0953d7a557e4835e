"""Reads the vocabulary of an LLM from the tokenizer files in its folder.

lilift knows three kinds of files and refuses all others. A vocabulary that is nearly right would tokenize most texts correctly
and ruin the others without an error. The three kinds are:

- a SentencePiece model (`tokenizer.model`);
- `tokenizer.json` with byte-level BPE;
- `tokenizer.json` that was converted from a SentencePiece BPE model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from lilift.export.gguf.gguf_vocabulary import REMEDY, Vocabulary, apply_added_tokens
from lilift.export.gguf.sentencepiece_model import from_sentencepiece, is_sentencepiece
from lilift.export.gguf.tokenizer_json import from_tokenizer_json
from lilift.recipe.errors import ModelError


def read_vocabulary(folder: Path, size: int) -> Vocabulary:
    """The vocabulary of an LLM, with placeholders for rows of the embeddings that have no token.

    Args:
        folder: the model's folder, or a folder with its tokenizer files.
        size: rows of the embeddings.

    Raises:
        ModelError: lilift does not know this tokenizer.
    """
    sentencepiece_file = folder / "tokenizer.model"
    special = _special_spellings(folder)
    converted = folder / "tokenizer.json"
    if sentencepiece_file.is_file() and is_sentencepiece(sentencepiece_file):
        vocabulary = from_sentencepiece(sentencepiece_file, size)
        added = {
            index: _with_role(token, special) if index >= size else token for index, token in _added_tokens(folder).items()
        }
        apply_added_tokens(vocabulary, added, folder)
        return vocabulary
    if not converted.is_file():
        raise ModelError("the folder has no tokenizer.model and no tokenizer.json", where=folder, remedy=REMEDY)
    try:
        content = json.loads(converted.read_text(encoding="utf-8"))
    except ValueError:
        raise ModelError("the file is damaged: it is not JSON", where=converted, remedy="download the model again") from None
    listed = content.get("added_tokens", [])
    with_roles = [_with_role(token, special) if token["id"] >= size else token for token in listed]
    return from_tokenizer_json(content | {"added_tokens": with_roles}, size, converted)


def _added_tokens(folder: Path) -> dict[int, Mapping[str, Any]]:
    """Tokens that were added to a SentencePiece model, from all files that may list them."""
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


def _with_role(token: Mapping[str, Any], special: Set[str]) -> Mapping[str, Any]:
    """The token, as a control token if the settings give it a role: transformers does the same."""
    return {**token, "special": True} if token["content"] in special else token


def _special_spellings(folder: Path) -> set[str]:
    """The tokens that the settings of a tokenizer give a role, such as padding: `added_tokens.json` does not say so."""
    found: set[str] = set()
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            settings = json.loads((folder / name).read_text(encoding="utf-8"))
            values = [value for key, value in settings.items() if key.endswith("_token")]
            values += settings.get("additional_special_tokens") or []
            found |= {value["content"] if isinstance(value, dict) else value for value in values if value}
    return {token for token in found if isinstance(token, str)}
