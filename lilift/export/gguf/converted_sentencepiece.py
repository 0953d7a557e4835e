"""Restores the scores of a SentencePiece BPE model that was converted to `tokenizer.json`, from the order of its merges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from lilift.export.gguf.gguf_vocabulary import REMEDY, SPACE, UNUSED_SCORE, TokenType, Vocabulary, unused_vocabulary
from lilift.export.runner.text_normalization import Step, can_normalize
from lilift.recipe.errors import ModelError


def converted_sentencepiece(content: Mapping[str, Any], size: int, where: Path) -> Vocabulary:
    """The vocabulary of a SentencePiece BPE model that was converted to `tokenizer.json`.

    SentencePiece joins the pair whose *result* has the best score. The conversion lists every pair, with those of better
    results first. So the score of a token is minus the rank of its first pair. This is only true if the list is complete and in
    order, so lilift checks both.

    Raises:
        ModelError: the merges or the text normalisation are not those of a SentencePiece model.
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
        # No merge makes a token without a score here, so llama.cpp never uses its score.
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
        ModelError: scores cannot express this list of merges.
    """

    def refused(reason: str) -> ModelError:
        return ModelError(f"the merges are not those of a SentencePiece model ({reason})", where=where, remedy=REMEDY)

    scores: dict[str, float] = {}
    listed: dict[str, set[int]] = {}
    latest = ""
    for rank, pair in enumerate(pairs):
        token = "".join(pair)
        if token not in ids:
            raise refused(f"{token!r} is not a token")
        if token != latest and token in scores:
            raise refused(f"the pairs of {token!r} are not next to each other")
        scores.setdefault(token, -float(rank))
        listed.setdefault(token, set()).add(len(pair[0]))
        latest = token
    for token in ids.keys() - special:
        possible = {cut for cut in range(1, len(token)) if token[:cut] in ids and token[cut:] in ids}
        if possible != listed.get(token, set()) and not _is_byte(token):
            raise refused(f"{token!r} can be joined from pairs that are not in the list")
    return scores


def _sentencepiece_prefix(content: Mapping[str, Any], ids: Mapping[str, int], where: Path) -> bool:
    """Whether the tokenizer puts a space before a text; every other step before BPE must be a step of SentencePiece.

    Raises:
        ModelError: llama.cpp cannot do one of the steps.
    """
    normalizers = steps_of(content.get("normalizer"), "normalizers")
    # lilift's runner does the steps before those of SentencePiece.
    done_by_llama_cpp = (
        index for index, step in enumerate(normalizers) if is_step_of_sentencepiece(step) or not can_normalize(step)
    )
    own = next(done_by_llama_cpp, len(normalizers))
    prefix = False
    for step in normalizers[own:] + steps_of(content.get("pre_tokenizer"), "pretokenizers"):
        kind = step["type"]
        if kind == "Prepend" and step["prepend"] == SPACE:
            prefix = True
        elif kind == "Metaspace" and step.get("replacement") == SPACE:
            # Only the first word of a text gets a space; the other words have one already.
            prefix = prefix or step.get("prepend_scheme", "always") != "never"
            _check_split(step.get("split", True), ids, where)
        elif kind == "Split" and step["pattern"] == {"String": SPACE} and step["behavior"] == "MergedWithNext":
            _check_split(True, ids, where)
        elif kind == "Split" and step["pattern"] == {"String": " "}:
            continue  # at this step every space is already a `▁`
        elif kind != "Replace" or step["pattern"] != {"String": " "} or step["content"] != SPACE:
            raise ModelError(f"llama.cpp does not support the tokenizer's step {kind}", where=where, remedy=REMEDY)
    return prefix


def _check_split(splits: bool, ids: Mapping[str, int], where: Path) -> None:
    """Check that splitting into words changes nothing: llama.cpp does not split, so no token may span two words.

    Raises:
        ModelError: a token spans two words.
    """
    spanning = next((token for token in ids if splits and SPACE in token[1:]), None)
    if spanning is not None:
        raise ModelError(
            f"the tokenizer splits text into words, but its token {spanning!r} spans two words", where=where, remedy=REMEDY
        )


def is_step_of_sentencepiece(step: Step) -> bool:
    """Whether llama.cpp's SentencePiece tokenizer does this step of a normalizer too: it writes spaces as `▁`."""
    if step["type"] == "Prepend":
        return bool(step["prepend"] == SPACE)
    return bool(step["type"] == "Replace" and step["pattern"] == {"String": " "} and step["content"] == SPACE)


def steps_of(part: Mapping[str, Any] | None, inner: str) -> list[Mapping[str, Any]]:
    """The steps of a normalizer or pre-tokenizer: those of a `Sequence`, or the single step itself."""
    if part is None:
        return []
    return list(part[inner]) if part["type"] == "Sequence" else [part]


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")
