"""Requests that the server refuses by name, odd texts and numbers in them, and stop texts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lilift.export.runner.answer_text import Piece
from lilift.export.runner.exported_bridge import ExportedBridge
from lilift.export.server.chat_requests import LONGEST_STOP, RequestError, read_request
from lilift.export.server.stop_texts import StopTexts
from tests.export.server.serving import post, question, served

MODEL = "tiny-cpu-f32"


@pytest.fixture(scope="module")
def address(exported: Path) -> Iterator[str]:
    with served(ExportedBridge(exported, quantisation="f32", threads=1)) as found:
        yield found


def refused(content: Any) -> RequestError:
    with pytest.raises(RequestError) as found:
        read_request(content, {MODEL: ()})
    return found.value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top_k", 40), ("min_p", 0.1), ("grammar", "root ::= x"), ("tool_choice", "auto"), ("best_of", 2), ("n", True),
        ("repetition_penalty", 1.1), ("ignore_eos", True), ("typo", 0), ("prediction", {}), ("logprobs", 0),
        ("response_format", {"type": "json_object"}), ("web_search_options", {}),
    ],
)  # fmt: skip
def test_a_field_without_support_is_refused_by_its_name(name: str, value: Any) -> None:
    error = refused(question("x", **{name: value}))
    assert (error.status, error.param, error.code) == (400, name, "unsupported_parameter")
    assert name in error.message


def test_fields_that_change_no_answer_are_accepted() -> None:
    harmless = {
        "n": 1, "user": "me", "tools": [], "tool_choice": "none", "store": False, "frequency_penalty": 0.0, "top_k": None,
        "response_format": {"type": "text"}, "metadata": {"a": "b"}, "service_tier": "auto", "parallel_tool_calls": True,
    }  # fmt: skip
    assert read_request(question("Omar", **harmless), {MODEL: ()}).question == "Omar"


@pytest.mark.parametrize(
    ("content", "param"),
    [
        ({}, "messages"),
        (question("x", temperature="0.5"), "temperature"),
        (question("x", stream="yes"), "stream"),
        (question("x", stop=["a", ""]), "stop[1]"),
        (question("x", stop=["a"] * 5), "stop"),
        (question("x", stop=5), "stop"),
        (question("x", stop="x" * (LONGEST_STOP + 1)), "stop"),
        (question("x", user=5), "user"),
        (question("x", stream_options={"include_usage": 1}), "stream_options.include_usage"),
        (question("x", stream_options={"typo": 1}), "stream_options.typo"),
        ({"messages": [{"role": "user"}, {"content": "x"}]}, "messages[1].role"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
    ],
)
def test_an_error_names_the_requests_own_field(content: Any, param: str) -> None:
    assert refused(content).param == param


def test_an_error_speaks_of_the_request_and_not_of_the_library_that_checks_it() -> None:
    unknown = refused(question("x", lilift={"route": "plain"}))
    assert unknown.message == "lilift.route: this server knows no such field; leave it out"
    assert refused({"messages": []}).message == "messages: this list is empty; give at least one"


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-7, -0.1, 2.1])
def test_a_temperature_is_zero_or_gives_finite_logits(temperature: float) -> None:
    assert refused(question("x", temperature=temperature)).param == "temperature"


@pytest.mark.parametrize(
    "content",
    [
        rb'{"messages": [{"role": "user", "content": "\ud83d"}]}',
        rb'{"messages": [{"role": "user", "content": "x"}], "\udc00": 1}',
        rb'{"messages": [{"role": "user", "content": "x"}], "stop": "\ud83d"}',
        rb'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
        rb'{"messages": [{"role": "user", "content": "x"}], "seed": 1e999}',
        b'{"messages": [{"role": "user", "content": "\xff"}]}',
        b'{"messages": [{"role": "user", "content": "x"}], "temperature": 5e-324}',
        b'{"messages": [{"role": "user", "content": "x"}], "max_tokens": 1' + b"0" * 5000 + b"}",
    ],
)
def test_texts_and_numbers_that_nothing_can_use_get_400(address: str, content: bytes) -> None:
    status, _, body = post(address, content)
    assert (status, body["error"]["type"]) == (400, "invalid_request_error")


def test_odd_but_valid_numbers_are_used(address: str) -> None:
    for settings in ({"temperature": 1e-6}, {"temperature": 2, "top_p": 5e-324}, {"temperature": 1, "seed": -(10**300)}):
        assert post(address, question("x", max_tokens=2, **settings))[0] == 200
    whole = rb'{"messages": [{"role": "user", "content": "\ud83d\ude00"}], "max_tokens": 1}'
    assert post(address, whole)[0] == 200, "a whole surrogate pair is a character"


def until_stop(pieces: list[str], *stops: str) -> tuple[str, str | None]:
    """The text that a client gets of an answer in these pieces, and the ending."""
    given = [Piece(text, index, "length" if index == len(pieces) else None) for index, text in enumerate(pieces, start=1)]
    found = list(StopTexts(list(stops)).until(iter(given)))
    return "".join(piece.text for piece in found), found[-1].ending


@pytest.mark.parametrize(
    ("answer", "stops", "shown"),
    [
        ("aababaabac", ["abac"], "aababa"),
        ("xabcd", ["bcd", "c"], "xab"),
        ("xabcd", ["abc", "c"], "x"),
        ("aaaaaaab", ["aab"], "aaaaa"),
        ("aaaa", ["aaaaa"], "aaaa"),
    ],
)
def test_the_first_complete_stop_text_ends_an_answer_in_pieces_of_any_size(answer: str, stops: list[str], shown: str) -> None:
    ending = "stop" if shown != answer else "length"
    for size in range(1, len(answer) + 1):
        pieces = [answer[start : start + size] for start in range(0, len(answer), size)]
        assert until_stop(pieces, *stops) == (shown, ending)


def test_stop_texts_take_linear_time() -> None:
    """60,000 letters that are almost the longest stop texts, at every place."""
    stops = ["a" * (LONGEST_STOP - 1) + end for end in "bcde"]
    began = time.process_time()
    assert until_stop(["a"] * 60_000, *stops) == ("a" * 60_000, "length")
    assert time.process_time() - began < 3
