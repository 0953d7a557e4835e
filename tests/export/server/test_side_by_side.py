"""Requests answered side by side get the same answers as alone, whoever comes and goes meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lilift.export.runner.exported_bridge import ExportedBridge
from lilift.export.server.application import Limits
from lilift.export.server.responses import AnswerFields
from tests.export.exported_run import QUESTIONS
from tests.export.server.serving import post, question, served

SETTINGS: list[dict[str, Any]] = [
    {}, {"max_tokens": 3}, {"temperature": 1.2, "seed": 7}, {"stop": "a"}, {"max_tokens": 300}, {"temperature": 0.9, "seed": 1},
]  # fmt: skip


def test_every_request_gets_the_answer_that_it_gets_alone(exported: Path) -> None:
    bridge = ExportedBridge(exported, quantisation="f32", threads=1)
    requests = [question(text, **settings) for text in QUESTIONS[1:] for settings in SETTINGS]
    with served(bridge, limits=Limits(requests=64, answers=4)) as address:
        alone = [post(address, request) for request in requests]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda request: post(address, request), requests))
            streamed = list(pool.map(lambda request: post(address, request | {"stream": True}), requests))
    assert {status for status, _, _ in alone + together + streamed} == {200}
    kept = [(body["choices"], body["usage"]) for _, _, body in alone]
    assert [(body["choices"], body["usage"]) for _, _, body in together] == kept
    assert all(stream.endswith("data: [DONE]\n\n") for _, _, stream in streamed)


def test_a_mistake_in_one_answer_does_not_reach_the_others(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bridge = ExportedBridge(exported, quantisation="f32", threads=1)
    whole = AnswerFields.whole

    def fails(self: AnswerFields, piece: Any) -> Any:
        if piece.tokens == 1:
            raise RuntimeError("a bug")
        return whole(self, piece)

    monkeypatch.setattr(AnswerFields, "whole", fails)
    with served(bridge, limits=Limits(requests=2)) as address:
        expected = post(address, question("Omar"))[2]["choices"]
        for _ in range(4):  # more than may run or wait: a failed answer must give its place back
            status, _, body = post(address, question("Omar", max_tokens=1))
            assert (status, body["error"]["message"]) == (500, "this is a bug in lilift (RuntimeError); please report it")
        assert post(address, question("Omar"))[2]["choices"] == expected
