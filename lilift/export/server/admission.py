"""Decides which requests the server accepts: host name, API key, and the size and time of their bodies."""

from __future__ import annotations

import asyncio
import hmac
import json
from typing import Any, NoReturn

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lilift.export.server.chat_requests import RequestError
from lilift.export.server.host_names import host_fault

_RETRY_SECONDS = "2"
_KEYED = "/v1"


class Guard:
    """Checks the host name and the API key of every request before anything else happens.

    Args:
        app: the application behind it.
        api_key: the key for every path below ``/v1``; None asks for no key.
        hosts: the host names that requests may use; None accepts any valid name.
    """

    def __init__(self, app: ASGIApp, *, api_key: str | None, hosts: tuple[str, ...] | None) -> None:
        self._app, self._api_key, self._hosts = app, api_key, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refused = self._objection(scope)
            if refused is not None:
                await refusal(refused)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _objection(self, scope: Scope) -> RequestError | None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        fault = host_fault(hosts, self._hosts)
        if fault is not None:
            status, reason = fault
            return RequestError(status, reason, code="invalid_host" if status == 400 else "host_not_allowed")
        # The path that routing uses. A URL that also holds parts of the Host header could name another path.
        path: str = scope["path"]
        if self._api_key is None or not path.startswith(_KEYED):
            return None
        given = next((value for name, value in headers if name == b"authorization"), b"")
        scheme, _, key = given.partition(b" ")
        if scheme.lower() == b"bearer" and hmac.compare_digest(key.strip(), self._api_key.encode()):
            return None
        return RequestError(401, "the API key is missing or wrong; send `Authorization: Bearer KEY`", code="invalid_api_key")


async def json_of(request: Request, most: int, seconds: float) -> Any:
    """The JSON of a request.

    Args:
        request: its body has not been read.
        most: reading stops if the body is longer than this many bytes.
        seconds: reading stops if the body is not complete after this time.

    Raises:
        RequestError: the body is not JSON, is too long, or does not arrive in time.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # pages of other web sites cannot send this type without a permission of this server (CORS)
        raise RequestError(415, "the body must be JSON; send `Content-Type: application/json`")
    try:
        content = await asyncio.wait_for(_body_of(request, most), seconds)
    except (TimeoutError, asyncio.TimeoutError):
        message = f"the request did not arrive within {seconds:g} seconds; check the connection and send it again"
        raise RequestError(408, message, code="request_timeout") from None
    try:
        found = json.loads(content, parse_constant=_no_number)
        # Half of a surrogate pair, as in "\ud800", is valid JSON but no text: nothing can encode it.
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise RequestError(400, "a text has half of a surrogate pair; send whole characters", code="invalid_text") from None
    except (ValueError, RecursionError):
        raise RequestError(400, "the body is not valid JSON; send a chat completion request as JSON") from None
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"JSON has no number {name}")


async def _body_of(request: Request, most: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise RequestError(413, f"the request is larger than {most:,} bytes; send a shorter one", code="request_too_large")
        chunks.append(chunk)
    return b"".join(chunks)


def refusal(error: RequestError) -> Response:
    """The HTTP response to a refused request."""
    headers = {"Retry-After": _RETRY_SECONDS} if error.status == 503 else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status == 408:
        headers["Connection"] = "close"  # the rest of the body must not be read as the next request
    return JSONResponse(error.as_dict(), status_code=error.status, headers=headers)
