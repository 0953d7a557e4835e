"""Who may ask, and how long a client may take: host names, keys, slow headers, slow bodies, many connections."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Scope

from lilift.export.runner.exported_bridge import ExportedBridge
from lilift.export.server.admission import Guard
from lilift.export.server.application import Limits
from lilift.export.server.host_names import LOOPBACK, host_name
from tests.export.server.serving import call, post, question, served

KEY = "secret"


@pytest.fixture(scope="module")
def address(bridge: ExportedBridge) -> Iterator[str]:
    """A server with a key that waits for a header and a body half a second each, and keeps few connections."""
    limits = Limits(body_bytes=20_000, body_seconds=0.5)
    with served(bridge, limits=limits, api_key=KEY, header_seconds=0.5, most_connections=40) as found:
        yield found


def connect(address: str) -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def sent_raw(address: str, content: bytes) -> bytes:
    """Everything that a server sends until it closes the connection."""
    with connect(address) as connection:
        connection.sendall(content)
        found = b""
        while part := connection.recv(65536):
            found += part
    return found


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1/v1/../x?", "127.0.0.1?", "127.0.0.1#", "a b", "127.0.0.1:99999", "user@127.0.0.1", "[::1", "[:::]", "::1", ""],
)
def test_a_request_with_an_invalid_host_gets_400_before_anything_else(address: str, host: str) -> None:
    for path in ("/v1/models", "/", "/no-such-page"):
        status, _, body = call(address, "GET", path, headers={"Host": host})
        assert (status, body["error"]["code"]) == (400, "invalid_host")


def test_host_names_are_read_without_their_port() -> None:
    found = [host_name(host) for host in ("LocalHost:80", "127.0.0.1", "127.0.0.1:", "[::1]:8737", "[0:0::1]")]
    assert found == ["localhost", "127.0.0.1", "127.0.0.1", "::1", "::1"]


def answer_of_guard(path: str, *headers: tuple[bytes, bytes]) -> int:
    """The status that the guard of a server with a key sends, or 204 from the application behind it."""
    statuses: list[int] = []

    async def application(_: Scope, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"",
        "scheme": "http", "server": ("127.0.0.1", 80), "headers": [(b"host", b"127.0.0.1"), *headers],
    }  # fmt: skip

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    asyncio.run(Guard(application, api_key=KEY, hosts=LOOPBACK)(scope, receive, send))
    return statuses[0]


def test_the_key_is_asked_for_by_the_path_of_routing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere:  # as in starlette before 1.0.1 for the Host header `127.0.0.1/x?`
        path = "/x"

    monkeypatch.setattr(Request, "url", Elsewhere())
    assert answer_of_guard("/v1/models") == 401
    assert answer_of_guard("/v1/models", (b"authorization", b"Bearer secret")) == 204
    assert answer_of_guard("/health") == 204


def test_two_host_headers_are_refused() -> None:
    assert answer_of_guard("/health", (b"host", b"127.0.0.1")) == 400


def test_half_open_connections_do_not_keep_out_who_has_the_key(address: str) -> None:
    with ExitStack() as stack:
        for number in range(130):
            connection = stack.enter_context(connect(address))
            connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n" if number % 2 else b"")
        began = time.monotonic()
        assert call(address, "GET", "/v1/models", headers={"Authorization": f"Bearer {KEY}"})[0] == 200
        assert time.monotonic() - began < 0.4, "it must not wait until the others run out of time"


def test_without_the_key_nobody_gets_a_place_in_the_queue(bridge: ExportedBridge) -> None:
    """Requests that never send their body, as many as may wait: those without the key are answered before they send it."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 99\r\n"
    with served(bridge, limits=Limits(requests=2), api_key=KEY) as address, ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(connect(address))
            connection.sendall(head + b"\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 401 ")
        for _ in range(4):
            stack.enter_context(connect(address)).sendall(head + f"Authorization: Bearer {KEY}\r\n\r\n".encode())
        assert post(address, question("x", max_tokens=1), Authorization=f"Bearer {KEY}")[0] == 200


def test_a_header_that_never_ends_gets_408(address: str) -> None:
    with connect(address) as connection:
        for _ in range(3):  # a client that sends a bit now and then does not get more time
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" if _ == 0 else b"X-More: y\r\n")
            time.sleep(0.15)
        found = connection.recv(65536)
        assert found.startswith(b"HTTP/1.1 408 ")
        assert b"did not arrive within 0.5 seconds" in found
        assert connection.recv(1) == b""
    assert sent_raw(address, b"") == b"", "a connection without a request is closed"


@pytest.mark.parametrize("framing", [b"Content-Length: 1000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"])
def test_a_body_that_never_ends_gets_408(address: str, framing: bytes) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    found = sent_raw(address, head + f"Authorization: Bearer {KEY}\r\n".encode() + framing)
    assert found.startswith(b"HTTP/1.1 408 ")
    assert json.loads(found.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timeout"


def test_who_goes_on_sending_after_a_refusal_is_cut_off(address: str) -> None:
    with connect(address) as connection:
        connection.sendall(b"POST /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 401 ")
        with pytest.raises(OSError):
            send_slowly(connection, b"1\r\nx\r\n", seconds=30)


def send_slowly(connection: socket.socket, part: bytes, *, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        connection.sendall(part)
        time.sleep(0.05)
