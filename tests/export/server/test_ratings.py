"""Ratings: what people think of answers is kept, and only right answers are learned from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lilift.data.texts.instructions import load_instructions
from lilift.export.runner.exported_bridge import ExportedBridge
from lilift.export.server.chat_requests import RequestError
from lilift.export.server.ratings import Ratings
from lilift.recipe.load import load_recipe
from tests.export.server.serving import call, served

JSON = {"Content-Type": "application/json"}


def rate(address: str, **fields: object) -> int:
    status, _, _ = call(address, "POST", "/v1/lilift/ratings", json.dumps(fields).encode(), JSON)
    return status


def test_a_server_keeps_ratings_and_adds_to_those_of_before(bridge: ExportedBridge, tmp_path: Path) -> None:
    path = tmp_path / "ratings.jsonl"
    for question in ("Moja?", "Mbili?"):
        with served(bridge, ratings=path) as address:
            assert call(address, "GET", "/v1/models")[2]["data"][0]["lilift"] == {"takes_ratings": True, "languages": []}
            assert rate(address, question=question, answer="1", right=True) == 201
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [(row["question"], row["response"], row["right"], row["model"]) for row in rows] == [
        ("Moja?", "1", True, bridge.name),
        ("Mbili?", "1", True, bridge.name),
    ]


def test_a_server_without_a_file_takes_no_ratings(bridge: ExportedBridge) -> None:
    with served(bridge) as address:
        assert call(address, "GET", "/v1/models")[2]["data"][0]["lilift"] == {"takes_ratings": False, "languages": []}
        assert rate(address, question="Moja?", answer="1", right=True) == 404


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"question": "", "answer": "1", "right": True},
        {"question": "a", "answer": "1", "right": "yes"},
        {"question": "a", "answer": "1", "right": True, "more": 1},
    ],
)
def test_what_is_no_rating_is_refused_and_not_kept(content: object, tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        Ratings(tmp_path / "ratings.jsonl", "model").add(content)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="not saved"):
        Ratings(tmp_path, "model").add({"question": "a", "answer": "1", "right": True})


def test_only_right_and_corrected_answers_become_instructions(tmp_path: Path) -> None:
    ratings = Ratings(tmp_path / "ratings.jsonl", "model")
    ratings.add({"question": "Moja na moja?", "answer": "Mbili.", "right": True})
    ratings.add({"question": "Mbili na mbili?", "answer": "Tano.", "right": False, "correction": " Nne. "})
    ratings.add({"question": "Tatu na tatu?", "answer": "Tano.", "right": False})
    recipe = load_recipe("tiny-cpu", [f"data.instructions={{source: {tmp_path / 'ratings.jsonl'}}}"])
    examples, _ = load_instructions(recipe.data.instructions, 0)
    assert [(row.question, row.response) for row in examples] == [("Moja na moja?", "Mbili."), ("Mbili na mbili?", "Nne.")]
