"""Reads the vocabulary of a `tokenizer.json`: byte-level BPE with a splitting rule that llama.cpp has, or SentencePiece BPE."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lilift.export.gguf.converted_sentencepiece import converted_sentencepiece, steps_of
from lilift.export.gguf.gguf_vocabulary import REMEDY, TokenType, Vocabulary, apply_added_tokens, unused_vocabulary
from lilift.export.runner.text_normalization import can_normalize
from lilift.recipe.errors import ModelError

# The pattern by which `tokenizer.json` splits text before byte-level BPE, llama.cpp's name for it, and whether llama.cpp then
# keeps a word that is a token without looking at the merges. Mistral Nemo's rule (`tekken`) is left out: llama.cpp only
# approximates it, and splits words of many scripts at other places.
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORD_START = r"[^\r\n\p{L}\p{N}]?"
SPLITTING = {
    _CONTRACTIONS + "|" + _WORD_START + r"\p{L}+|\p{N}{1,3}" + _REST: ("llama-bpe", True),
    _CONTRACTIONS + "|" + _WORD_START + r"\p{L}+|\p{N}" + _REST: ("qwen2", False),
}


def from_tokenizer_json(content: Mapping[str, Any], size: int, where: Path) -> Vocabulary:
    """The vocabulary of a `tokenizer.json`.

    Raises:
        ModelError: llama.cpp does not support this tokenizer.
    """
    model = content["model"]
    if model.get("type") != "BPE":
        raise ModelError(f"llama.cpp does not support {model.get('type')} tokenizers of LLMs", where=where, remedy=REMEDY)
    content = _without_unused_tokens(content, size)
    model = content["model"]
    if _largest_id(content) >= size:
        raise ModelError(
            f"the tokenizer has {_largest_id(content) + 1} tokens, more than the model's {size}", where=where, remedy=REMEDY
        )
    if model.get("byte_fallback"):
        vocabulary = converted_sentencepiece(content, size, where)
    else:
        vocabulary = _byte_level(content, size, where)
    apply_added_tokens(vocabulary, {token["id"]: token for token in content.get("added_tokens", [])}, where)
    return vocabulary


def _byte_level(content: Mapping[str, Any], size: int, where: Path) -> Vocabulary:
    model = content["model"]
    pre = _splitting_rule(content, where)
    vocabulary = unused_vocabulary(size, "gpt2", pre)
    vocabulary.scores = None
    for token, index in model["vocab"].items():
        vocabulary.tokens[index] = token.encode()
        vocabulary.types[index] = int(TokenType.NORMAL)
    vocabulary.merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return vocabulary


def _splitting_rule(content: Mapping[str, Any], where: Path) -> str:
    """llama.cpp's name for the rule by which this tokenizer splits text.

    Raises:
        ModelError: llama.cpp does not have this rule.
    """
    # llama.cpp normalizes nothing, so lilift's runner does it.
    unfit = next((step for step in steps_of(content.get("normalizer"), "normalizers") if not can_normalize(step)), None)
    if unfit is not None:
        raise ModelError(f"llama.cpp does not support the tokenizer's step {unfit['type']}", where=where, remedy=REMEDY)
    steps = steps_of(content.get("pre_tokenizer"), "pretokenizers")
    kinds = [step["type"] for step in steps]
    ignores_merges = bool(content["model"].get("ignore_merges"))
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True) and not steps[0].get("add_prefix_space"):
        rule: tuple[str, bool] | None = ("gpt-2", False)
    elif kinds == ["Split", "ByteLevel"] and not steps[1].get("use_regex", True) and not steps[1].get("add_prefix_space"):
        rule = SPLITTING.get(steps[0]["pattern"].get("Regex", "")) if steps[0]["behavior"] == "Isolated" else None
    else:
        rule = None
    if rule is None or rule[1] != ignores_merges:
        described = next((step["pattern"] for step in steps if step["type"] == "Split"), kinds)
        raise ModelError(
            f"lilift does not know whether the pre-tokenizer {str(described)[:120]} gives the same tokens in llama.cpp",
            where=where,
            remedy=REMEDY,
        )
    return rule[0]


def _without_unused_tokens(content: Mapping[str, Any], size: int) -> Mapping[str, Any]:
    """The content without control tokens that have no row in the embeddings; see `apply_added_tokens`."""
    added = content.get("added_tokens", [])
    unused = {token["content"] for token in added if token.get("special") and token["id"] >= size}
    if not unused:
        return content
    vocabulary = {token: index for token, index in content["model"]["vocab"].items() if token not in unused}
    kept = [token for token in added if token["content"] not in unused]
    return {**content, "model": {**content["model"], "vocab": vocabulary}, "added_tokens": kept}


def _largest_id(content: Mapping[str, Any]) -> int:
    added = (token["id"] for token in content.get("added_tokens", []))
    return max(int(index) for index in (*content["model"]["vocab"].values(), *added))
