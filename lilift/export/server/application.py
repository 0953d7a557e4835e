"""The HTTP application: one model, one answer at a time, the others wait their turn."""

from __future__ import annotations

import asyncio
import hmac
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lilift.export.runner.bridge import ExportedBridge, Piece
from lilift.export.server.requests import ChatRequest, RequestError, StopTexts, read_request
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
_BODY_SECONDS = 30.0
_RETRY_SECONDS = "2"


@dataclass(frozen=True)
class Limits:
    """What a server takes on.

    Attributes:
        body_bytes: the largest request.
        requests: answers being made or waited for; more are told to come back later.
    """

    body_bytes: int = 256 * 1024
    requests: int = 8


def build_application(
    bridge: ExportedBridge, *, limits: Limits, api_key: str | None = None, hosts: tuple[str, ...] | None = LOOPBACK
) -> Starlette:
    """The application for one export.

    Args:
        bridge: answers.
        limits: what is refused.
        api_key: what `Authorization: Bearer` has to say below ``/v1``; None lets everybody in.
        hosts: the names under which it may be called, which keeps other web sites' pages out (DNS rebinding); None for any.
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
        middleware=[Middleware(_Guard, api_key=api_key, hosts=hosts)],
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
        """At the end, what is being answered is broken off."""
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
            raise RequestError(404, f"there is no model {name!r} here, but {self._bridge.name!r}", code="model_not_found")
        return JSONResponse(self._described())

    async def complete(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        asked = read_request(await _json_of(request, self._limits.body_bytes), self._bridge.name)
        if self._active >= self._limits.requests:
            raise RequestError(503, f"{self._active} answers are being made or waited for; try again soon", code="overloaded")
        self._active += 1
        answer = _Answer(self._bridge, asked, self._worker, self._closing, self._finished)
        try:
            first = await answer.next()  # whatever is wrong with the question shows itself before anything is sent
        except BaseException:
            answer.leave()
            raise
        if asked.stream:
            return StreamingResponse(
                _events(answer, first, asked), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
            )
        return await _whole(answer, first, request)

    def _finished(self) -> None:
        self._active -= 1

    def _described(self) -> dict[str, Any]:
        return {"id": self._bridge.name, "object": "model", "created": self._since, "owned_by": "lilift"}


class _Answer:
    """One answer while it is made, in the thread that makes all answers."""

    def __init__(
        self,
        bridge: ExportedBridge,
        asked: ChatRequest,
        worker: ThreadPoolExecutor,
        closing_down: threading.Event,
        finished: Callable[[], None],
    ) -> None:
        self.id = f"chatcmpl-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self.model = bridge.name
        self.unread = len(asked.messages) - 1
        self.prompt_tokens = 0
        self.cut = False
        self._bridge, self._asked, self._closing = bridge, asked, closing_down
        self._left = threading.Event()
        self._finished: Callable[[], None] | None = finished
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[Piece | Exception] = asyncio.Queue()
        worker.submit(self._work)

    async def next(self) -> Piece:
        """The next piece.

        Raises:
            LiliftError: the question cannot be answered.
        """
        piece = await self._pieces.get()
        if isinstance(piece, Exception):
            raise piece
        return piece

    def leave(self) -> None:
        """Nobody listens any more, or everything was said."""
        self._left.set()
        if self._finished is not None:
            self._finished()
            self._finished = None

    def fields(self, kind: str) -> dict[str, Any]:
        """What every response and every part of one begins with."""
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def usage(self, tokens: int) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": self.prompt_tokens + tokens,
        }

    def remarks(self) -> dict[str, Any]:
        """What a client that knows lilift can tell its user."""
        return {"unread_messages": self.unread, "question_was_cut": self.cut}

    def _work(self) -> None:
        """Runs in the worker's thread."""
        try:
            if not self._gone():
                self._make()
        except Exception as error:
            self._put(error)

    def _make(self) -> None:
        prompt = self._bridge.prepare(self._asked.question)
        self.prompt_tokens, self.cut = prompt.source_tokens + len(prompt.tokens), prompt.cut
        longest = self._asked.longest(self._bridge.description.max_new_tokens)
        stream = self._bridge.stream(
            prompt, max_new_tokens=longest, sampling=self._asked.sampling(), seed=self._asked.drawing_seed()
        )
        with closing(stream):  # type: ignore[type-var]
            for piece in StopTexts(self._asked.stops).until(stream):
                if self._gone():
                    return
                self._put(piece)

    def _gone(self) -> bool:
        return self._left.is_set() or self._closing.is_set()

    def _put(self, piece: Piece | Exception) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._pieces.put_nowait, piece)


async def _whole(answer: _Answer, piece: Piece, request: Request) -> Response:
    """One response when everything was said."""
    try:
        texts = [piece.text]
        while piece.ending is None:
            if await request.is_disconnected():
                return Response(status_code=499)
            piece = await answer.next()
            texts.append(piece.text)
    finally:
        answer.leave()
    message = {"role": "assistant", "content": "".join(texts).strip(), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": piece.ending}
    usage = answer.usage(piece.tokens)
    return JSONResponse(answer.fields("chat.completion") | {"choices": [choice], "usage": usage, "lilift": answer.remarks()})


async def _events(answer: _Answer, piece: Piece, asked: ChatRequest) -> AsyncIterator[str]:
    """Server-sent events, one a piece."""

    def event(delta: dict[str, Any], ending: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": ending}
        return _event(answer.fields("chat.completion.chunk") | {"choices": [choice]} | more)

    try:
        yield event({"role": "assistant", "content": ""}, lilift=answer.remarks())
        while True:
            if piece.text:
                yield event({"content": piece.text})
            if piece.ending is not None:
                break
            piece = await answer.next()
        yield event({}, piece.ending)
        if asked.stream_options is not None and asked.stream_options.include_usage:
            yield _event(answer.fields("chat.completion.chunk") | {"choices": [], "usage": answer.usage(piece.tokens)})
        yield "data: [DONE]\n\n"
    except LiliftError as error:
        yield _event(RequestError(500, error.line()).as_dict())
    finally:
        answer.leave()


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


class _Guard:
    """Looks at who calls before anything else happens."""

    def __init__(self, app: ASGIApp, *, api_key: str | None, hosts: tuple[str, ...] | None) -> None:
        self._app, self._api_key, self._hosts = app, api_key, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            refused = self._objection(request)
            if refused is not None:
                await (await _refused(request, refused))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _objection(self, request: Request) -> RequestError | None:
        host = urlsplit("//" + request.headers.get("host", "")).hostname
        if self._hosts is not None and host not in self._hosts:
            return RequestError(403, f"this server is not to be called as {host!r}; use 127.0.0.1", code="host_not_allowed")
        if self._api_key is None or not request.url.path.startswith("/v1"):
            return None
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), self._api_key.encode()):
            return None
        return RequestError(401, "the API key is missing or wrong; send `Authorization: Bearer KEY`", code="invalid_api_key")


async def _json_of(request: Request, most: int) -> Any:
    """A request's JSON, read no further than it may be long."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # a page of another web site cannot send this kind without being asked for leave first
        raise RequestError(415, "the body must be JSON; send `Content-Type: application/json`")
    try:
        content = await asyncio.wait_for(_body_of(request, most), _BODY_SECONDS)
    except (TimeoutError, asyncio.TimeoutError):
        raise RequestError(408, "the request did not arrive in time") from None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise RequestError(400, "the body is not JSON") from None


async def _body_of(request: Request, most: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise RequestError(413, f"the request is larger than {most:,} bytes; ask less at once", code="request_too_large")
        chunks.append(chunk)
    return b"".join(chunks)


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _file(path: str) -> Callable[[Request], Awaitable[Response]]:
    name, kind = _FILES[path]

    async def answer(_: Request) -> Response:
        return FileResponse(PAGE / name, media_type=kind, headers=_PAGE_HEADERS)

    return answer


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    headers = {"Retry-After": _RETRY_SECONDS} if error.status == 503 else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error.as_dict(), status_code=error.status, headers=headers)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}; /v1/models and /v1/chat/completions are what there is"
    response = JSONResponse(RequestError(error.status_code, message).as_dict(), status_code=error.status_code)
    response.headers.update(error.headers or {})
    return response


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, LiliftError)
    return await _refused(request, RequestError(400, error.line(), param="messages"))


async def _bug(request: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)
    return await _refused(request, RequestError(500, f"this is a bug in lilift: {type(error).__name__}"))
