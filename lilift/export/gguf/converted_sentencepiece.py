"""A SentencePiece BPE model that was converted to `tokenizer.json`: its scores are won back from the order of the merges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from gguf import TokenType

from lilift.export.gguf.gguf_vocabulary import REMEDY, SPACE, UNUSED_SCORE, Vocabulary, unused_vocabulary
from lilift.recipe.errors import ModelError


def converted_sentencepiece(content: Mapping[str, Any], size: int, where: Path) -> Vocabulary:
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
    vocabulary = unused_vocabulary(size, "llama", "default")
    assert vocabulary.scores is not None
    for token, index in ids.items():
        vocabulary.tokens[index] = token.encode()
        # A token that no merge makes is never the result of one, so its score is never looked at.
        vocabulary.scores[index] = scores.get(token, UNUSED_SCORE)
        vocabulary.types[index] = int(TokenType.BYTE if _is_byte(token) else TokenType.NORMAL)
    vocabulary.add_space_prefix = prefix
    unknown = model.get("unk_token")
    if unknown in ids:
        vocabulary.types[ids[unknown]] = int(TokenType.UNKNOWN)
        vocabulary.special["unk"] = ids[unknown]
    return vocabulary


def _scores_of_merges(
    pairs: Sequence[tuple[str, ...]], ids: Mapping[str, int], special: Set[str], where: Path
) -> dict[str, float]:
    """Scores of merged tokens, best first.

    Raises:
        ModelError: scores cannot say what this list of merges does.
    """

    def refused(reason: str) -> ModelError:
        return ModelError(f"its merges are not those of a SentencePiece model ({reason})", where=where, remedy=REMEDY)

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
    steps = steps_of(content.get("normalizer"), "normalizers") + steps_of(content.get("pre_tokenizer"), "pretokenizers")
    prefix = False
    for step in steps:
        kind = step["type"]
        if kind == "Prepend" and step["prepend"] == SPACE:
            prefix = True
        elif kind == "Metaspace" and step.get("replacement") == SPACE:
            # A text's first word gets a space; the words after it have their own.
            prefix = prefix or step.get("prepend_scheme", "always") != "never"
            _check_split(step.get("split", True), ids, where)
        elif kind == "Split" and step["pattern"] == {"String": SPACE} and step["behavior"] == "MergedWithNext":
            _check_split(True, ids, where)
        elif kind == "Split" and step["pattern"] == {"String": " "}:
            continue  # by then every space is a `▁`
        elif kind != "Replace" or step["pattern"] != {"String": " "} or step["content"] != SPACE:
            raise ModelError(f"llama.cpp has no counterpart for the tokenizer's {kind}", where=where, remedy=REMEDY)
    return prefix


def _check_split(splits: bool, ids: Mapping[str, int], where: Path) -> None:
    """Words that are split apart are never joined; llama.cpp does not split, which is the same if no token spans a border."""
    spanning = next((token for token in ids if splits and SPACE in token[1:]), None)
    if spanning is not None:
        raise ModelError(f"splits words apart, yet its token {spanning!r} spans two", where=where, remedy=REMEDY)


def steps_of(part: Mapping[str, Any] | None, inner: str) -> list[Mapping[str, Any]]:
    if part is None:
        return []
    return list(part[inner]) if part["type"] == "Sequence" else [part]


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")
