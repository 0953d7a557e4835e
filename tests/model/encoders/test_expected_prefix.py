"""Encoders of the E5 family want words before every text, and lilift says so if a recipe has none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lilift.model.encoders.expected_prefix import missing_prefix
from lilift.recipe.schema import EncoderSettings


@pytest.mark.parametrize("name", ["intfloat/multilingual-e5-small", "./e5", "models/E5_base"])
def test_the_family_is_known_by_name(name: str, tmp_path: Path) -> None:
    line = missing_prefix(EncoderSettings(model=name), tmp_path)
    assert line is not None
    assert "`query: `" in line
    assert "`encoder.prefix`" in line
    assert missing_prefix(EncoderSettings(model=name, prefix="query: "), tmp_path) is None


def test_the_family_is_known_by_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"_name_or_path": "intfloat/multilingual-e5-large-instruct"}))
    line = missing_prefix(EncoderSettings(model="./my-encoder"), tmp_path)
    assert line is not None
    assert "the instruction in its model card" in line


@pytest.mark.parametrize("name", ["stand-in:encoder", "google/mt5-xl", "FacebookAI/xlm-roberta-base", "models/code5", "e50"])
def test_other_encoders_want_none(name: str, tmp_path: Path) -> None:
    assert missing_prefix(EncoderSettings(model=name), tmp_path) is None
