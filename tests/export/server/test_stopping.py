"""The end of the server: every client gets a proper last word."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lilift.cli import app
from lilift.export.runner.exported_bridge import ExportedBridge
from lilift.export.server.application import Limits
from lilift.recipe.errors import ModelError
from tests.export.server.serving import Endless, post, question, served


def test_requests_that_run_or_wait_get_503_and_streams_end_with_done(bridge: ExportedBridge) -> None:
    with ThreadPoolExecutor(6) as pool:
        with served(Endless(bridge), limits=Limits(answers=2)) as address:
            running = [pool.submit(post, address, question("x", stream=stream)) for stream in (True, False)]
            time.sleep(0.3)
            waiting = [pool.submit(post, address, question("x", stream=stream)) for stream in (True, False, False)]
            host, port = address.removeprefix("http://").split(":")
            slow = socket.create_connection((host, int(port)))
            slow.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n")
            slow.sendall(b"Content-Length: 9\r\n\r\n{")
            time.sleep(0.3)
            began = time.monotonic()
        assert time.monotonic() - began < 2, "nobody has to be cut off"
        status, _, stream = running[0].result()
        assert status == 200
        *_, error, done, end = stream.split("\n\n")
        assert json.loads(error.removeprefix("data: "))["error"]["code"] == "shutting_down"
        assert (done, end) == ("data: [DONE]", "")
        for status, headers, body in [one.result() for one in (running[1], *waiting)]:
            assert (status, headers["retry-after"], body["error"]["code"]) == (503, "2", "shutting_down")
        with slow:
            assert slow.recv(100).startswith(b"HTTP/1.1 503 ")


def test_a_failure_of_llama_cpp_ends_the_answers_that_it_meets_and_no_others(
    bridge: ExportedBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps_left: list[bool] = []
    read = bridge._llm.read_side_by_side

    def fails(tokens: Any) -> Any:
        if steps_left and not steps_left.pop():
            raise ModelError("llama.cpp's llama_decode failed with 1")
        return read(tokens)

    with served(bridge) as address:
        expected = post(address, question("Omar"))[2]["choices"]
        monkeypatch.setattr(bridge._llm, "read_side_by_side", fails)
        steps_left[:] = [False]
        assert post(address, question("Omar"))[0] == 500
        steps_left[:] = [False, *[True] * 8]
        status, _, stream = post(address, question("Omar", stream=True))
        assert status == 200
        assert "llama_decode failed" in stream
        assert stream.endswith("data: [DONE]\n\n")
        assert post(address, question("Omar"))[2]["choices"] == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "99999"], "--port 99999 is not a port; give a number from 0 to 65535"),
        (["--port", "-1"], "--port -1 is not a port"),
        (["--parallel", "0"], "--parallel 0 is too small"),
        (["--parallel", "65"], "--parallel 65 is too large"),
    ],
)
def test_wrong_options_are_refused_with_one_line(
    exported: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["serve", str(exported), *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
