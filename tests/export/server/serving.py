"""A server in this process, on a free port."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from lilift.export.runner.exported_bridge import ExportedBridge
from lilift.export.server.application import LOOPBACK, Limits, build_application
from lilift.export.server.listening import listen


@contextmanager
def served(bridge: ExportedBridge, *, limits: Limits | None = None, api_key: str | None = None) -> Iterator[str]:
    """The address of a server, for as long as the block runs."""
    application = build_application(bridge, limits=limits or Limits(), api_key=api_key, hosts=LOOPBACK)
    with listen("127.0.0.1", 0) as (socket, address):
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=1))
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
