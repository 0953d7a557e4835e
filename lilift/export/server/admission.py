"""Decides which requests the server accepts, and limits the size of their bodies."""

from __future__ import annotations

import asyncio
import hmac
import json
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lilift.export.server.chat_requests import RequestError

_BODY_SECONDS = 30.0
_RETRY_SECONDS = "2"


class Guard:
    """Checks the host name and the API key of every request before anything else happens."""

    def __init__(self, app: ASGIApp, *, api_key: str | None, hosts: tuple[str, ...] | None) -> None:
        self._app, self._api_key, self._hosts = app, api_key, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            refused = self._objection(request)
            if refused is not None:
                await refusal(refused)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _objection(self, request: Request) -> RequestError | None:
        host = urlsplit("//" + request.headers.get("host", "")).hostname
        if self._hosts is not None and host not in self._hosts:
            return RequestError(
                403, f"this server does not accept the host name {host!r}; call it as 127.0.0.1", code="host_not_allowed"
            )
        if self._api_key is None or not request.url.path.startswith("/v1"):
            return None
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), self._api_key.encode()):
            return None
        return RequestError(401, "the API key is missing or wrong; send `Authorization: Bearer KEY`", code="invalid_api_key")


async def json_of(request: Request, most: int) -> Any:
    """The JSON of a request; reading stops if the body is longer than `most` bytes.

    Raises:
        RequestError: the body is not JSON, is too long, or does not arrive in time.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # pages of other web sites cannot send this type without a permission of this server (CORS)
        raise RequestError(415, "the body must be JSON; send `Content-Type: application/json`")
    try:
        content = await asyncio.wait_for(_body_of(request, most), _BODY_SECONDS)
    except (TimeoutError, asyncio.TimeoutError):
        raise RequestError(
            408, f"the request did not arrive within {_BODY_SECONDS:.0f} seconds; check the connection and send it again"
        ) from None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise RequestError(400, "the body is not valid JSON; send a chat completion request as JSON") from None


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
    return JSONResponse(error.as_dict(), status_code=error.status, headers=headers)
