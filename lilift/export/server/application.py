"""The HTTP application: it serves one model and generates one answer at a time, and other requests wait."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from lilift.export.runner.exported_bridge import ExportedBridge
from lilift.export.server.admission import Guard, json_of, refusal
from lilift.export.server.answer_stream import Answer, events, whole
from lilift.export.server.chat_requests import RequestError, read_request
from lilift.recipe.errors import LiliftError

PAGE = Path(__file__).parent / "page"
_FILES = {"/": ("index.html", "text/html"), "/page.css": ("page.css", "text/css"), "/page.js": ("page.js", "text/javascript")}
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Limits:
    """The limits of a server.

    Attributes:
        body_bytes: size of the largest request.
        requests: requests that are running or waiting; the server refuses further ones with status 503.
    """

    body_bytes: int = 256 * 1024
    requests: int = 8


def build_application(
    bridge: ExportedBridge, *, limits: Limits, api_key: str | None = None, hosts: tuple[str, ...] | None = LOOPBACK
) -> Starlette:
    """The application for one export.

    Args:
        bridge: the model that answers.
        limits: the limits for requests.
        api_key: the key that requests below ``/v1`` must send as `Authorization: Bearer`; None accepts requests without a key.
        hosts: the host names that requests may use, so that pages of other web sites cannot call the server (DNS rebinding);
            None accepts any name.
    """
    service = _Service(bridge, limits)
    routes = [
        Route("/v1/chat/completions", service.complete, methods=["POST"]),
        Route("/v1/models", service.models),
        Route("/v1/models/{model:path}", service.model),
        Route("/health", _health),
        *(Route(path, _file(path)) for path in _FILES),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, api_key=api_key, hosts=hosts)],
        exception_handlers={RequestError: _refused, HTTPException: _no_route, LiliftError: _failed, Exception: _bug},
        lifespan=service.lifespan,
    )


class _Service:
    """The model behind the endpoints."""

    def __init__(self, bridge: ExportedBridge, limits: Limits) -> None:
        self._bridge = bridge
        self._limits = limits
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="answers")
        self._closing = threading.Event()
        self._active = 0
        self._since = int(time.time())

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Stops the running answer when the server ends."""
        yield
        self._closing.set()
        self._worker.shutdown(cancel_futures=True)

    async def models(self, _: Request) -> Response:
        """The one model, as a list."""
        return JSONResponse({"object": "list", "data": [self._described()]})

    async def model(self, request: Request) -> Response:
        """The one model by its name."""
        name = request.path_params["model"]
        if name != self._bridge.name:
            raise RequestError(404, f"this server has no model {name!r}; use {self._bridge.name!r}", code="model_not_found")
        return JSONResponse(self._described())

    async def complete(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        asked = read_request(await json_of(request, self._limits.body_bytes), self._bridge.name)
        if self._active >= self._limits.requests:
            raise RequestError(
                503, f"the server is busy with {self._active} requests; try again in a few seconds", code="overloaded"
            )
        self._active += 1
        answer = Answer(self._bridge, asked, self._worker, self._closing, self._finished)
        try:
            first = await answer.next()  # an error of the question appears here, before the server sends anything
        except BaseException:
            answer.leave()
            raise
        if asked.stream:
            return StreamingResponse(
                events(answer, first, asked), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
            )
        return await whole(answer, first, request)

    def _finished(self) -> None:
        self._active -= 1

    def _described(self) -> dict[str, Any]:
        return {"id": self._bridge.name, "object": "model", "created": self._since, "owned_by": "lilift"}


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _file(path: str) -> Callable[[Request], Awaitable[Response]]:
    name, kind = _FILES[path]

    async def answer(_: Request) -> Response:
        return FileResponse(PAGE / name, media_type=kind, headers=_PAGE_HEADERS)

    return answer


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return refusal(error)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}; use GET /v1/models or POST /v1/chat/completions"
    response = JSONResponse(RequestError(error.status_code, message).as_dict(), status_code=error.status_code)
    response.headers.update(error.headers or {})
    return response


async def _failed(_: Request, error: Exception) -> Response:
    assert isinstance(error, LiliftError)
    return refusal(RequestError(400, error.line(), param="messages"))


async def _bug(_: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)
    return refusal(RequestError(500, f"this is a bug in lilift ({type(error).__name__}); please report it"))
