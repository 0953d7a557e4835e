"""The server: what OpenAI's own client gets, what is refused, and that nobody blocks the others for good."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from lilift.cli import app
from lilift.export.runner.answer_text import Piece
from lilift.export.runner.exported_bridge import ExportedBridge
from lilift.export.server.application import Limits
from lilift.export.server.stop_texts import StopTexts
from lilift.phases.answering.gguf_answerer import ExportResponder
from tests.export.exported_run import QUESTIONS
from tests.export.server.serving import Endless, call, post, question, served

KEY = "ključ-1"


@pytest.fixture(scope="module")
def address(bridge: ExportedBridge) -> Iterator[str]:
    with served(bridge, limits=Limits(body_bytes=20_000)) as found:
        yield found


@pytest.fixture(scope="module")
def client(address: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0)


@pytest.fixture(scope="module")
def expected(bridge: ExportedBridge) -> str:
    return ExportResponder(bridge, max_new_tokens=16, sampling=None).generate(QUESTIONS[:1])[0]


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_openais_client_gets_the_runners_answers(client: openai.OpenAI, expected: str) -> None:
    assert [model.id for model in client.models.list()] == ["tiny-cpu-f32"]
    assert client.models.retrieve("tiny-cpu-f32").owned_by == "lilift"
    found = client.chat.completions.create(model="tiny-cpu-f32", messages=user(QUESTIONS[0]))
    assert found.choices[0].message.content == expected
    assert found.choices[0].finish_reason in ("stop", "length")
    assert found.usage is not None
    assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens
    assert found.usage.completion_tokens <= 16


def test_streams_say_the_same_piece_by_piece(client: openai.OpenAI, expected: str) -> None:
    chunks = list(
        client.chat.completions.create(
            model="tiny-cpu-f32", messages=user(QUESTIONS[0]), stream=True, stream_options={"include_usage": True}
        )
    )
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert "".join(texts).strip() == expected
    assert len(texts) > 1
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] in ("stop", "length")
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


def test_only_the_last_question_is_read_and_the_response_says_so(client: openai.OpenAI, expected: str) -> None:
    parts = [{"type": "text", "text": QUESTIONS[0]}]
    messages: list[Any] = [
        {"role": "system", "content": "Be brief."}, *user("Vica?"), {"role": "assistant", "content": "5"},
        {"role": "user", "content": parts},
    ]  # fmt: skip
    found = client.chat.completions.create(model="tiny-cpu-f32", messages=messages)
    assert found.choices[0].message.content == expected
    assert found.model_extra == {"lilift": {"unread_messages": 3, "question_was_cut": False}}


def test_settings_are_heeded(client: openai.OpenAI, expected: str) -> None:
    def ask(**settings: Any) -> Any:
        return client.chat.completions.create(model="tiny-cpu-f32", messages=user(QUESTIONS[0]), **settings)

    short = ask(max_completion_tokens=2)
    assert short.usage.completion_tokens == 2
    assert short.choices[0].finish_reason == "length"
    drawn = [ask(temperature=1.6, seed=seed).choices[0].message.content for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1
    stop = expected[len(expected) // 2 :][:2]
    assert ask(stop=[stop]).choices[0].message.content == expected[: expected.index(stop)].strip()


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["a", "E", "N", "D", "b"], "a"),
        (["aE", "NX", "EN"], "aENXEN"),
        (["EEN", "Db"], "E"),
        (["x", "§y"], "x"),
    ],
)
def test_a_stop_text_ends_an_answer_however_it_is_cut(pieces: list[str], shown: str) -> None:
    given = [Piece(text, index, "length" if index == len(pieces) else None) for index, text in enumerate(pieces, start=1)]
    found = list(StopTexts(["END", "§"]).until(iter(given)))
    assert "".join(piece.text for piece in found) == shown
    assert found[-1].ending == ("length" if shown == "".join(pieces) else "stop")


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"{", 400, "not valid JSON"),
        (b"[" * 15_000, 400, "not valid JSON"),
        (b"[]", 400, "not a JSON object"),
        ({"model": "tiny-cpu-f32"}, 400, "messages"),
        ({"messages": []}, 400, "messages"),
        (question("  "), 400, "last message of the user is empty or missing"),
        (question("x", n=2), 400, "lilift does not support n;"),
        (question("x", tools=[{"type": "function"}]), 400, "lilift does not support tools;"),
        (question("x", temperature=3), 400, "temperature"),
        (question("x", max_tokens=0), 400, "max_tokens"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages"),
        (question("x", model="gpt-5"), 404, "'tiny-cpu-f32'"),
        (question("x" * 30_000), 413, "20,000 bytes"),
    ],
    ids=lambda value: "" if not isinstance(value, str) else value,
)
def test_what_cannot_be_done_is_said_in_openais_words(address: str, content: Any, status: int, words: str) -> None:
    found, _, body = post(address, content)
    assert found == status
    assert words in body["error"]["message"]
    assert body["error"]["type"] == "invalid_request_error"


def test_pages_of_other_web_sites_stay_outside(address: str) -> None:
    assert post(address, question("x"), Host="evil.example")[0] == 403
    assert post(address, question("x"), **{"Content-Type": "text/plain"})[0] == 415
    status, headers, page = call(address, "GET", "/")
    assert status == 200
    assert "<title>lilift</title>" in page
    assert "default-src 'none'" in headers["content-security-policy"]
    assert call(address, "GET", "/../../lilift.json")[0] == 404
    assert call(address, "GET", "/v1/completions")[2]["error"]["message"].startswith("GET /v1/completions: Not Found")
    assert call(address, "GET", "/v1/chat/completions")[0] == 405


def test_a_key_is_asked_for_below_v1_alone(bridge: ExportedBridge, expected: str) -> None:
    with served(bridge, api_key=KEY) as address:
        assert call(address, "GET", "/")[0] == call(address, "GET", "/health")[0] == 200
        status, headers, body = post(address, question("x"))
        assert (status, headers["www-authenticate"], body["error"]["code"]) == (401, "Bearer", "invalid_api_key")
        right = {"Authorization": f"Bearer {KEY}".encode().decode("latin-1")}
        assert post(address, question(QUESTIONS[0]), **right)[2]["choices"][0]["message"]["content"] == expected
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=f"{address}/v1", api_key="wrong").models.list()


def test_who_leaves_makes_room_and_who_comes_too_many_is_told(bridge: ExportedBridge) -> None:
    endless = Endless(bridge)
    with served(endless, limits=Limits(requests=1)) as address:
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=120)
        body = json.dumps(question("x", stream=True)).encode()
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.status == 200
        assert response.readline().startswith(b"data: ")
        status, headers, error = post(address, question("y"))
        assert (status, headers["retry-after"], error["error"]["code"]) == (503, "2", "overloaded")
        response.close()
        connection.close()
        assert endless.ended.wait(60), "an answer that nobody reads must end"
        endless.ended.clear()
        again = http.client.HTTPConnection(address.removeprefix("http://"), timeout=120)
        again.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        assert again.getresponse().status == 200
    assert endless.ended.wait(60), "the end of the server is the end of its answers"


def test_lilift_serve_answers_until_it_is_interrupted(exported: Path, expected: str) -> None:
    command = [sys.executable, "-m", "lilift", "serve", str(exported), "--port", "0", "--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        address = lines[1].split()[-1].rstrip("/")
        answer = post(address, question(QUESTIONS[0]))[2]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert lines[0].strip() == "tiny-cpu-f32"
    assert answer["choices"][0]["message"]["content"] == expected
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_a_server_that_cannot_start_says_why(
    exported: Path, address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LILIFT_API_KEY", raising=False)
    port = address.rsplit(":", 1)[1]
    for arguments, code, words in (
        (["--port", port], 7, f"cannot listen on 127.0.0.1, port {port}"),
        (["--host", "0.0.0.0"], 2, "you set no API key"),
        (["--max-requests", "0"], 2, "too small"),
    ):
        assert app.main(["serve", str(exported), "--threads", "1", *arguments]) == code
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
    assert app.main(["serve", os.devnull]) == 4
