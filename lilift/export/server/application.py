"""The HTTP application: it serves one model, whose answers grow side by side, and further requests wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from lilift.export.runner.answer_text import Piece
from lilift.export.runner.exported_bridge import ExportedBridge
from lilift.export.server.admission import Guard, json_of, refusal
from lilift.export.server.answer_worker import Answer, AnswerWorker
from lilift.export.server.chat_requests import RequestError, read_request
from lilift.export.server.openapi import PATH, RATINGS, openapi_document
from lilift.export.server.ratings import Ratings
from lilift.export.server.responses import AnswerFields, as_request_error, events
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
_CLIENT_LEFT = 499  # nginx's status; nobody reads it


@dataclass(frozen=True)
class Limits:
    """The limits of a server.

    Attributes:
        body_bytes: size of the largest request.
        body_seconds: time in which the body of a request must arrive.
        requests: requests that are running or waiting; the server refuses further ones with status 503.
        answers: answers that grow side by side.
    """

    body_bytes: int = 256 * 1024
    body_seconds: float = 30.0
    requests: int = 8
    answers: int = 4


def build_application(
    bridge: ExportedBridge,
    *,
    limits: Limits,
    api_key: str | None = None,
    hosts: tuple[str, ...] | None = LOOPBACK,
    ratings: Path | None = None,
) -> Starlette:
    """The application for one export; its `state.stop` refuses all requests from then on, also those that wait.

    Args:
        bridge: the model that answers.
        limits: the limits for requests.
        api_key: the key that requests below ``/v1`` must send as `Authorization: Bearer`; None accepts requests without a key.
        hosts: the host names that requests may use, so that pages of other web sites cannot call the server (DNS rebinding);
            None accepts any name.
        ratings: the file for what people think of the answers; without it the server takes no ratings.

    Raises:
        ModelError: there is not enough memory for so many answers side by side.
    """
    service = _Service(bridge, limits, None if ratings is None else Ratings(ratings, bridge.name))
    routes = [
        Route("/v1/chat/completions", service.complete, methods=["POST"]),
        Route(RATINGS, service.rate, methods=["POST"]),
        Route("/v1/models", service.models),
        Route("/v1/models/{model:path}", service.model),
        Route("/health", _health),
        Route(PATH, _openapi),
        *(Route(path, _file(path)) for path in _FILES),
    ]
    application = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, api_key=api_key, hosts=hosts)],
        exception_handlers={RequestError: _refused, HTTPException: _no_route, LiliftError: _bug, Exception: _bug},
        lifespan=service.lifespan,
    )
    application.state.stop = service.stop
    return application


class _Service:
    """The model behind the endpoints."""

    def __init__(self, bridge: ExportedBridge, limits: Limits, ratings: Ratings | None) -> None:
        self._bridge = bridge
        self._limits = limits
        self._ratings = ratings
        self._worker = AnswerWorker(bridge, limits.answers)
        self._answers: set[Answer] = set()
        self._stopping = asyncio.Event()
        self._since = int(time.time())

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """The worker runs as long as the server."""
        self._worker.begin()
        yield
        self.stop()
        self._worker.close()

    def stop(self) -> None:
        """Refuse all requests, also those that wait or run."""
        self._stopping.set()
        for answer in self._answers:
            answer.gone = True
            answer.fail(_stopped())

    async def models(self, _: Request) -> Response:
        """The one model, as a list."""
        return JSONResponse({"object": "list", "data": [self._described()]})

    async def model(self, request: Request) -> Response:
        """The one model by its name."""
        name = request.path_params["model"]
        if name != self._bridge.name:
            raise RequestError(404, f"this server has no model {name!r}; use {self._bridge.name!r}", code="model_not_found")
        return JSONResponse(self._described())

    async def rate(self, request: Request) -> Response:
        """`POST /v1/lilift/ratings`: keep what a person thinks of an answer."""
        content = await self._unless_stopped(json_of(request, self._limits.body_bytes, self._limits.body_seconds))
        if self._ratings is None:
            raise RequestError(404, "this server keeps no ratings; start it with --ratings FILE", code="no_ratings")
        self._ratings.add(content)
        return JSONResponse({"saved": True}, status_code=201)

    async def complete(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        content = await self._unless_stopped(json_of(request, self._limits.body_bytes, self._limits.body_seconds))
        asked = read_request(content, self._bridge.name)
        if len(self._answers) >= self._limits.requests:
            raise RequestError(
                503, f"the server is busy with {len(self._answers)} requests; try again in a few seconds", code="overloaded"
            )
        answer = Answer(asked, self._bridge.description.max_new_tokens)
        self._answers.add(answer)
        self._worker.submit(answer)
        leave = partial(self._leave, answer)
        streamed = False
        try:
            piece = await _unless_left(answer.next(), request)  # an error of the question appears before anything is sent
            if piece is None:
                return Response(status_code=_CLIENT_LEFT)
            fields = AnswerFields(answer, self._bridge.name)
            if not asked.stream:
                return JSONResponse(fields.whole(piece))
            streamed = True
            return _Stream(events(answer, piece, fields), leave)
        finally:
            if not streamed:
                leave()

    def _leave(self, answer: Answer) -> None:
        answer.gone = True
        self._answers.discard(answer)

    async def _unless_stopped(self, reading: Coroutine[Any, Any, Any]) -> Any:
        """What a coroutine reads.

        Raises:
            RequestError: the server stops meanwhile.
        """
        found = await _first_of(reading, self._stopping.wait())
        content = None if found is None else found.result()
        if self._stopping.is_set():
            raise _stopped()
        return content

    def _described(self) -> dict[str, Any]:
        described = {"id": self._bridge.name, "object": "model", "created": self._since, "owned_by": "lilift"}
        return described | {"lilift": {"takes_ratings": self._ratings is not None}}


class _Stream(StreamingResponse):
    """A stream of events that calls `leave` at its end, whether or not the client has read any of it."""

    def __init__(self, content: AsyncIterator[str], leave: Callable[[], None]) -> None:
        super().__init__(content, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


def _stopped() -> RequestError:
    return RequestError(503, "the server is stopping; send the request again after it has started", code="shutting_down")


async def _unless_left(waiting: Coroutine[Any, Any, Piece], request: Request) -> Piece | None:
    """What a coroutine waits for; None if the client disconnects first."""
    found = await _first_of(waiting, request.receive())
    return None if found is None else found.result()


async def _first_of(wanted: Awaitable[Any], other: Awaitable[Any]) -> asyncio.Task[Any] | None:
    """The task of `wanted` when it is complete, or None if `other` is complete first."""
    tasks = [asyncio.ensure_future(wanted), asyncio.ensure_future(other)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0] if tasks[0].done() else None
    finally:
        for task in tasks:
            task.cancel()


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _openapi(_: Request) -> Response:
    return JSONResponse(openapi_document())


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


async def _bug(_: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect):
        return Response(status_code=_CLIENT_LEFT)
    return refusal(as_request_error(error))
