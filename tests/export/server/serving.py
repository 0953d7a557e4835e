"""A server in this process, on a free port."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lilift.export.runner.answer_text import Piece
from lilift.export.runner.exported_bridge import ExportedBridge
from lilift.export.server.application import Limits, build_application
from lilift.export.server.host_names import LOOPBACK
from lilift.export.server.listening import listen, server_of
from lilift.export.server.question_reading import AnswersWhole, ReadsQuestions


class Endless:
    """The bridge, but for answers that go on until somebody takes them away."""

    def __init__(self, bridge: ExportedBridge) -> None:
        self._bridge = bridge
        self.ended = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bridge, name)

    def batch(self, answers: int) -> _EndlessBatch:
        return _EndlessBatch(answers, self.ended)


class _EndlessBatch:
    def __init__(self, answers: int, ended: threading.Event) -> None:
        self._answers, self._ended = answers, ended
        self._counts: dict[int, int] = {}

    def has_room(self, *_: Any) -> bool:
        return len(self._counts) < self._answers

    def start(self, *_: Any, **__: Any) -> tuple[int, Piece]:
        number = next(number for number in range(self._answers) if number not in self._counts)
        self._counts[number] = 1
        return number, Piece("more ", 1)

    def step(self) -> dict[int, Piece]:
        time.sleep(0.02)
        self._counts = {number: count + 1 for number, count in self._counts.items()}
        return {number: Piece("more ", count) for number, count in self._counts.items()}

    def leave(self, number: int) -> None:
        del self._counts[number]
        self._ended.set()


@contextmanager
def served(
    bridge: ExportedBridge | Endless | AnswersWhole,
    *,
    limits: Limits | None = None,
    api_key: str | None = None,
    ratings: Path | None = None,
    reading: ReadsQuestions | None = None,
    beside: AnswersWhole | None = None,
    **options: Any,
) -> Iterator[str]:
    """The address of a server, for as long as the block runs."""
    application = build_application(
        bridge,
        limits=limits or Limits(),
        api_key=api_key,
        hosts=LOOPBACK,
        ratings=ratings,
        reading=reading,
        beside=beside,
    )
    with listen("127.0.0.1", 0) as (socket, address):
        server = server_of(application, **options)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
        thread.start()
        try:
            yield address
        finally:
            server.should_exit = True
            thread.join(60)


def call(
    address: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of one request, sent just so."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=120)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        content = response.read()
        found = {name.lower(): value for name, value in response.getheaders()}
        return response.status, found, json.loads(content) if "json" in found.get("content-type", "") else content.decode()
    finally:
        connection.close()


def post(address: str, content: Any, **headers: str) -> tuple[int, dict[str, str], Any]:
    """A chat completion, asked for by hand."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return call(address, "POST", "/v1/chat/completions", body, {"Content-Type": "application/json"} | headers)


def question(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}
