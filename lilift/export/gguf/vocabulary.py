"""A tokenizer's vocabulary as GGUF holds it, so that llama.cpp finds the very tokens of the original tokenizer.

Four kinds of files are known; anything else is refused by name, because a vocabulary that is nearly right tokenises most text
correctly and ruins the rest in silence:

- a SentencePiece model (`tokenizer.model`, `spiece.model`), BPE or unigram;
- `tokenizer.json` with byte-level BPE, whose splitting rule llama.cpp knows by a name;
- `tokenizer.json` that a SentencePiece BPE model was converted to: its scores are won back from the order of the merges.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, TokenType

from lilift.recipe.errors import ModelError

# How `tokenizer.json` splits text before byte-level BPE, llama.cpp's name for it, and whether llama.cpp then takes a word that
# is a token as it is, whatever the merges say. Mistral Nemo's rule (`tekken`) is left out: llama.cpp only comes near it, and
# splits words of many scripts elsewhere.
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORD_START = r"[^\r\n\p{L}\p{N}]?"
_SPLITTING = {
    _CONTRACTIONS + "|" + _WORD_START + r"\p{L}+|\p{N}{1,3}" + _REST: ("llama-bpe", True),
    _CONTRACTIONS + "|" + _WORD_START + r"\p{L}+|\p{N}" + _REST: ("qwen2", False),
}
_UNUSED_SCORE = -10000.0
_ADDED_SCORE = -1000.0
_SPACE = "▁"
# SentencePiece's own numbers for its model types.
_UNIGRAM, _BPE = 1, 2
_REMEDY = "export with --to hf"


@dataclass
class Vocabulary:
    """Tokens in the order of their ids, with what llama.cpp needs to apply them.

    Attributes:
        model: llama.cpp's name of the algorithm: ``llama`` (SentencePiece BPE), ``t5`` (unigram), ``gpt2`` (byte-level BPE).
        pre: its name of the rule that splits text before BPE.
        tokens, scores, types: one for each id; scores are None where the algorithm has none.
        merges: pairs in the order of their ranks, for ``gpt2``.
        special: ids by role: ``bos``, ``eos``, ``unk``, ``pad``.
        add_bos, add_eos: whether a text begins and ends with these tokens.
        add_space_prefix, remove_extra_whitespaces, charsmap: SentencePiece's normalisation.
        chat_template: the Jinja template that `llama-server` renders messages with.
    """

    model: str
    pre: str
    tokens: list[bytes]
    scores: list[float] | None
    types: list[int]
    merges: list[str] | None = None
    special: dict[str, int] = field(default_factory=dict)
    add_bos: bool = False
    add_eos: bool = False
    add_space_prefix: bool | None = None
    remove_extra_whitespaces: bool | None = None
    charsmap: bytes | None = None
    chat_template: str | None = None

    def text(self, token: int) -> str:
        """What a token stands for, as a special token is written."""
        return self.tokens[token].decode()

    def add_to(self, writer: GGUFWriter) -> None:
        """Write it into a GGUF file's metadata."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        if self.scores is not None:
            writer.add_token_scores(self.scores)
        writer.add_token_types(self.types)
        if self.merges is not None:
            writer.add_token_merges(self.merges)
        add = {
            "bos": writer.add_bos_token_id,
            "eos": writer.add_eos_token_id,
            "unk": writer.add_unk_token_id,
            "pad": writer.add_pad_token_id,
        }
        for role, token in self.special.items():
            add[role](token)
        writer.add_add_bos_token(self.add_bos)
        writer.add_add_eos_token(self.add_eos)
        if self.add_space_prefix is not None:
            writer.add_add_space_prefix(self.add_space_prefix)
        if self.remove_extra_whitespaces is not None:
            writer.add_remove_extra_whitespaces(self.remove_extra_whitespaces)
        if self.charsmap:
            writer.add_precompiled_charsmap(self.charsmap)
        if self.chat_template is not None:
            writer.add_chat_template(self.chat_template)


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
        _apply_added_tokens(vocabulary, _added_tokens(folder), folder)
        return vocabulary
    if not converted.is_file():
        raise ModelError("has no tokenizer.model and no tokenizer.json", where=folder, remedy=_REMEDY)
    try:
        content = json.loads(converted.read_text(encoding="utf-8"))
    except ValueError:
        raise ModelError("is damaged: not JSON", where=converted, remedy="download the model again") from None
    return from_tokenizer_json(content, size, converted)


def is_sentencepiece(path: Path) -> bool:
    """Whether a file is a SentencePiece model; some models call another kind of file `tokenizer.model`."""
    from sentencepiece import SentencePieceProcessor

    try:
        SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError):
        return False
    return True


def from_sentencepiece(path: Path, size: int) -> Vocabulary:
    """The vocabulary of a SentencePiece file.

    Raises:
        ModelError: it has more tokens than the model, or is neither BPE nor unigram.
    """
    from sentencepiece import SentencePieceProcessor
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    processor = SentencePieceProcessor(model_file=str(path))
    description = ModelProto()
    description.ParseFromString(path.read_bytes())
    kind = description.trainer_spec.model_type
    if kind not in (_UNIGRAM, _BPE):
        raise ModelError("is neither a BPE nor a unigram model", where=path, remedy=_REMEDY)
    if processor.get_piece_size() > size:
        raise ModelError(
            f"has {processor.get_piece_size()} tokens, more than the model's {size}",
            where=path,
            remedy="use the model's own file",
        )
    vocabulary = _unused(size, "llama" if kind == _BPE else "t5", "default")
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


def from_tokenizer_json(content: Mapping[str, Any], size: int, where: Path) -> Vocabulary:
    """The vocabulary of a `tokenizer.json`.

    Raises:
        ModelError: llama.cpp has no name for what it does.
    """
    model = content["model"]
    if model.get("type") != "BPE":
        raise ModelError(
            f"llama.cpp has no counterpart for {model.get('type')} tokenizers of LLMs", where=where, remedy=_REMEDY
        )
    if _largest_id(content) >= size:
        raise ModelError(f"has {_largest_id(content) + 1} tokens, more than the model's {size}", where=where, remedy=_REMEDY)
    if model.get("byte_fallback"):
        vocabulary = _converted_sentencepiece(content, size, where)
    else:
        vocabulary = _byte_level(content, size, where)
    _apply_added_tokens(vocabulary, {token["id"]: token for token in content.get("added_tokens", [])}, where)
    return vocabulary


def _unused(size: int, model: str, pre: str) -> Vocabulary:
    tokens = [f"[PAD{index}]".encode() for index in range(size)]
    return Vocabulary(model, pre, tokens, [_UNUSED_SCORE] * size, [int(TokenType.UNUSED)] * size)


def _piece_type(processor: Any, index: int) -> int:
    if processor.is_unknown(index):
        return int(TokenType.UNKNOWN)
    if processor.is_control(index):
        return int(TokenType.CONTROL)
    if processor.is_unused(index):
        return int(TokenType.UNUSED)
    return int(TokenType.BYTE if processor.is_byte(index) else TokenType.NORMAL)


def _converted_sentencepiece(content: Mapping[str, Any], size: int, where: Path) -> Vocabulary:
    """A SentencePiece BPE model that was converted to `tokenizer.json`.

    SentencePiece joins the pair whose *result* has the best score; the conversion lists every pair, those of better results
    first. So a token's score is minus the rank at which its pairs begin. That holds only if the list is complete and in order,
    which is checked.
    """
    model = content["model"]
    ids: dict[str, int] = model["vocab"]
    pairs = [tuple(merge.split(" ", 1)) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    prefix = _sentencepiece_prefix(content, ids, where)
    special = {token["content"] for token in content.get("added_tokens", [])}
    scores = _scores_of_merges(pairs, ids, special, where)
    vocabulary = _unused(size, "llama", "default")
    assert vocabulary.scores is not None
    for token, index in ids.items():
        vocabulary.tokens[index] = token.encode()
        # A token that no merge makes is never the result of one, so its score is never looked at.
        vocabulary.scores[index] = scores.get(token, _UNUSED_SCORE)
        vocabulary.types[index] = int(TokenType.BYTE if _is_byte(token) else TokenType.NORMAL)
    vocabulary.add_space_prefix = prefix
    unknown = model.get("unk_token")
    if unknown in ids:
        vocabulary.types[ids[unknown]] = int(TokenType.UNKNOWN)
        vocabulary.special["unk"] = ids[unknown]
    return vocabulary


def _byte_level(content: Mapping[str, Any], size: int, where: Path) -> Vocabulary:
    model = content["model"]
    pre = _splitting_rule(content, where)
    vocabulary = _unused(size, "gpt2", pre)
    vocabulary.scores = None
    for token, index in model["vocab"].items():
        vocabulary.tokens[index] = token.encode()
        vocabulary.types[index] = int(TokenType.NORMAL)
    vocabulary.merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return vocabulary


def _splitting_rule(content: Mapping[str, Any], where: Path) -> str:
    """llama.cpp's name for the way this tokenizer splits text.

    Raises:
        ModelError: it has none.
    """
    normalizers = [step["type"] for step in _steps(content.get("normalizer"), "normalizers")]
    if set(normalizers) - {"NFC"}:  # llama.cpp does not compose letters either; texts are composed almost everywhere
        raise ModelError(f"llama.cpp has no counterpart for the tokenizer's {normalizers[0]}", where=where, remedy=_REMEDY)
    steps = _steps(content.get("pre_tokenizer"), "pretokenizers")
    kinds = [step["type"] for step in steps]
    ignores_merges = bool(content["model"].get("ignore_merges"))
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True) and not steps[0].get("add_prefix_space"):
        rule: tuple[str, bool] | None = ("gpt-2", False)
    elif kinds == ["Split", "ByteLevel"] and not steps[1].get("use_regex", True) and not steps[1].get("add_prefix_space"):
        rule = _SPLITTING.get(steps[0]["pattern"].get("Regex", "")) if steps[0]["behavior"] == "Isolated" else None
    else:
        rule = None
    if rule is None or rule[1] != ignores_merges:
        described = next((step["pattern"] for step in steps if step["type"] == "Split"), kinds)
        raise ModelError(
            f"the pre-tokenizer {str(described)[:120]} is not known to give the same tokens in llama.cpp",
            where=where,
            remedy=_REMEDY,
        )
    return rule[0]


def _scores_of_merges(
    pairs: Sequence[tuple[str, ...]], ids: Mapping[str, int], special: Set[str], where: Path
) -> dict[str, float]:
    """Scores of merged tokens, best first.

    Raises:
        ModelError: scores cannot say what this list of merges does.
    """

    def refused(reason: str) -> ModelError:
        return ModelError(f"its merges are not those of a SentencePiece model ({reason})", where=where, remedy=_REMEDY)

    scores: dict[str, float] = {}
    listed: dict[str, set[int]] = {}
    latest = ""
    for rank, pair in enumerate(pairs):
        token = "".join(pair)
        if token not in ids:
            raise refused(f"{token!r} is no token")
        if token != latest and token in scores:
            raise refused(f"the pairs of {token!r} lie apart")
        scores.setdefault(token, -float(rank))
        listed.setdefault(token, set()).add(len(pair[0]))
        latest = token
    for token in ids.keys() - special:
        possible = {cut for cut in range(1, len(token)) if token[:cut] in ids and token[cut:] in ids}
        if possible != listed.get(token, set()) and not _is_byte(token):
            raise refused(f"{token!r} can be joined from pairs that are not listed")
    return scores


def _sentencepiece_prefix(content: Mapping[str, Any], ids: Mapping[str, int], where: Path) -> bool:
    """Whether a text gets a space before it; everything else that happens before BPE must be SentencePiece's own."""
    steps = _steps(content.get("normalizer"), "normalizers") + _steps(content.get("pre_tokenizer"), "pretokenizers")
    prefix = False
    for step in steps:
        kind = step["type"]
        if kind == "Prepend" and step["prepend"] == _SPACE:
            prefix = True
        elif kind == "Metaspace" and step.get("replacement") == _SPACE:
            # A text's first word gets a space; the words after it have their own.
            prefix = prefix or step.get("prepend_scheme", "always") != "never"
            _check_split(step.get("split", True), ids, where)
        elif kind == "Split" and step["pattern"] == {"String": _SPACE} and step["behavior"] == "MergedWithNext":
            _check_split(True, ids, where)
        elif kind == "Split" and step["pattern"] == {"String": " "}:
            continue  # by then every space is a `▁`
        elif kind != "Replace" or step["pattern"] != {"String": " "} or step["content"] != _SPACE:
            raise ModelError(f"llama.cpp has no counterpart for the tokenizer's {kind}", where=where, remedy=_REMEDY)
    return prefix


def _check_split(splits: bool, ids: Mapping[str, int], where: Path) -> None:
    """Words that are split apart are never joined; llama.cpp does not split, which is the same if no token spans a border."""
    spanning = next((token for token in ids if splits and _SPACE in token[1:]), None)
    if spanning is not None:
        raise ModelError(f"splits words apart, yet its token {spanning!r} spans two", where=where, remedy=_REMEDY)


def _steps(part: Mapping[str, Any] | None, inner: str) -> list[Mapping[str, Any]]:
    if part is None:
        return []
    return list(part[inner]) if part["type"] == "Sequence" else [part]


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _largest_id(content: Mapping[str, Any]) -> int:
    added = (token["id"] for token in content.get("added_tokens", []))
    return max(int(index) for index in (*content["model"]["vocab"].values(), *added))


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


def _apply_added_tokens(vocabulary: Vocabulary, added: Mapping[int, Mapping[str, Any]], where: Path) -> None:
    for index, token in added.items():
        if index >= len(vocabulary.tokens):
            raise ModelError(f"the token {token['content']!r} has no row in the model", where=where, remedy=_REMEDY)
        if vocabulary.types[index] in (TokenType.UNKNOWN, TokenType.CONTROL):
            continue  # the file that made the vocabulary says it already
        text = token["content"]
        special = bool(token.get("special"))
        vocabulary.types[index] = int(TokenType.CONTROL if special else TokenType.USER_DEFINED)
        if vocabulary.scores is not None:
            vocabulary.scores[index] = _ADDED_SCORE
            text = text if special else text.replace(_SPACE, " ")
        vocabulary.tokens[index] = text.encode()
