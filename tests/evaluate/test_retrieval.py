"""Alignment as a number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lilift.evaluate.retrieval import alignment_quality, read_alignment_quality, retrieval_accuracy
from lilift.recipe.errors import RunFolderError
from lilift.recipe.storage import write_json


def test_translations_that_point_the_same_way_are_found_whatever_their_length() -> None:
    english = torch.eye(5)
    assert retrieval_accuracy(english, english * torch.tensor([[1.0], [9.0], [0.1], [3.0], [2.0]])) == 1.0
    assert retrieval_accuracy(english, english.roll(1, 0)) == 0.0


def test_both_directions_count() -> None:
    """Two foreign sentences lie at the first English one: it finds only one of them, and both of them find it."""
    english = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    other = torch.tensor([[1.0, 0.1], [1.0, 0.2]])
    assert retrieval_accuracy(english, other) == (2 / 2 + 1 / 2) / 2


def test_languages_are_measured_against_english_before_and_after(tmp_path: Path) -> None:
    sentences = {"en": ["a", "b", "c", "d"], "sw": ["a", "b", "c", "d"], "om": ["a", "b", "d", "c"]}

    def after(texts: Sequence[str], codes: Sequence[str]) -> Tensor:
        assert codes == [*["en"] * 4, *["sw"] * 4, *["om"] * 4]
        return torch.stack([torch.eye(4)["abcd".index(text)] for text in texts])

    def before(texts: Sequence[str], codes: Sequence[str]) -> Tensor:  # noqa: ARG001
        return torch.ones(len(texts), 4) + torch.arange(len(texts))[:, None]

    found = alignment_quality(sentences, "world", before=before, after=after)
    assert [(one.language, one.tier, one.after) for one in found.languages] == [("sw", "low", 1.0), ("om", "low", 0.5)]
    assert (found.sentences, found.before, found.after) == (4, 0.25, 0.75)
    write_json(tmp_path / "alignment.json", found.as_dict())
    assert read_alignment_quality(tmp_path / "alignment.json") == found
    assert "cut" not in found.as_dict()
    assert not found.remarks()
    cut = alignment_quality(sentences, "world", before=before, after=after, cut=3)
    write_json(tmp_path / "alignment.json", cut.as_dict())
    assert read_alignment_quality(tmp_path / "alignment.json") == cut
    assert cut.remarks()[0].startswith("3 sentences are longer than the encoder's limit")
    assert read_alignment_quality(tmp_path / "nothing.json") is None
    write_json(tmp_path / "alignment.json", {"languages": []})
    with pytest.raises(RunFolderError, match="lilift cannot read alignment scores from it"):
        read_alignment_quality(tmp_path / "alignment.json")
