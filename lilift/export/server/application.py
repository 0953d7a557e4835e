"""The HTTP application: it serves one model, whose answers grow side by side, and further requests wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
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
from lilift.export.server.host_names import LOOPBACK
from lilift.export.server.openapi import PATH, RATINGS, openapi_document
from lilift.export.server.question_reading import AnswersWhole, ReadsQuestions
from lilift.export.server.ratings import Ratings
from lilift.export.server.responses import AnswerFields, as_request_error, events
from lilift.export.server.whole_answers import WholeAnswers
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
    model: ExportedBridge | AnswersWhole,
    *,
    limits: Limits,
    api_key: str | None = None,
    hosts: tuple[str, ...] | None = LOOPBACK,
    ratings: Path | None = None,
    reading: ReadsQuestions | None = None,
    beside: AnswersWhole | None = None,
) -> Starlette:
    """The application for one model; its `state.stop` refuses all requests from then on, also those that wait.

    Args:
        model: the model that answers; answers of an export grow side by side and piece by piece.
        limits: the limits for requests.
        api_key: the key that requests below ``/v1`` must send as `Authorization: Bearer`; None accepts requests without a key.
        hosts: the host names that requests may use, so that pages of other web sites cannot call the server (DNS rebinding);
            None accepts any name.
        ratings: the file for what people think of the answers; without it the server takes no ratings.
        reading: how an export reads questions; None reads them over the bridge.
        beside: a second model, whose answers the page shows beside those of the first.

    Raises:
        ModelError: there is not enough memory for so many answers side by side.
    """
    if isinstance(model, AnswersWhole):
        served = [_Served(model.name, WholeAnswers(model), model.languages)]
    else:
        worker = AnswerWorker(model, limits.answers, reading)
        served = [_Served(model.name, worker, reading.languages if reading else (), model.description.max_new_tokens, reading)]
    if beside is not None:
        served.append(_Served(beside.name, WholeAnswers(beside), beside.languages))
    names = [one.name for one in served]
    service = _Service(served, limits, None if ratings is None else Ratings(ratings, names[0], names[1:]))
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


@dataclass(frozen=True)
class _Served:
    """A model of the server: its name, what generates its answers, and the languages that a request may name."""

    name: str
    worker: AnswerWorker | WholeAnswers
    languages: Sequence[str]
    longest: int = 0
    reading: ReadsQuestions | None = None

    @property
    def translates(self) -> bool:
        return self.reading is not None and self.reading.translates


class _Service:
    """The models behind the endpoints."""

    def __init__(self, served: Sequence[_Served], limits: Limits, ratings: Ratings | None) -> None:
        self._served = {one.name: one for one in served}
        self._limits = limits
        self._ratings = ratings
        self._answers: set[Answer] = set()
        self._stopping = asyncio.Event()
        self._since = int(time.time())

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """The workers run as long as the server."""
        for one in self._served.values():
            one.worker.begin()
        yield
        self.stop()
        for one in self._served.values():
            one.worker.close()

    def stop(self) -> None:
        """Refuse all requests, also those that wait or run."""
        self._stopping.set()
        for answer in self._answers:
            answer.gone = True
            answer.fail(_stopped())

    async def models(self, _: Request) -> Response:
        """The models, as a list; the first one answers requests that name none."""
        return JSONResponse({"object": "list", "data": [self._described(one) for one in self._served.values()]})

    async def model(self, request: Request) -> Response:
        """A model by its name."""
        name = request.path_params["model"]
        if name not in self._served:
            known = " or ".join(map(repr, self._served))
            raise RequestError(404, f"this server has no model {name!r}; use {known}", code="model_not_found")
        return JSONResponse(self._described(self._served[name]))

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
        asked = read_request(content, {one.name: one.languages for one in self._served.values()})
        served = self._served[asked.model or next(iter(self._served))]
        if len(self._answers) >= self._limits.requests:
            raise RequestError(
                503, f"the server is busy with {len(self._answers)} requests; try again in a few seconds", code="overloaded"
            )
        answer = Answer(asked, served.longest, whole=served.translates)
        self._answers.add(answer)
        served.worker.submit(answer)
        leave = partial(self._leave, answer)
        streamed = False
        try:
            # An error of the question appears before anything is sent.
            piece = await _unless_left(_first_piece(answer, served), request)
            if piece is None:
                return Response(status_code=_CLIENT_LEFT)
            fields = AnswerFields(answer, served.name)
            if not asked.stream:
                return JSONResponse(fields.whole(piece), headers=fields.headers)
            streamed = True
            return _Stream(events(answer, piece, fields), leave, fields.headers)
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

    def _described(self, served: _Served) -> dict[str, Any]:
        described = {"id": served.name, "object": "model", "created": self._since, "owned_by": "lilift"}
        facts = {"takes_ratings": self._ratings is not None, "languages": list(served.languages)}
        return described | {"lilift": facts}


async def _first_piece(answer: Answer, served: _Served) -> Piece:
    """The first piece of an answer; of an answer that lilift translates, the whole translation."""
    piece = await answer.next()
    if served.reading is None or not served.translates:
        return piece
    asked = answer.asked
    translated = partial(served.reading.answer_for, piece.text.strip(), asked.question, asked.language)
    text, remarks = await asyncio.get_running_loop().run_in_executor(None, translated)
    answer.remarks |= remarks
    return replace(piece, text=text)


class _Stream(StreamingResponse):
    """A stream of events that calls `leave` at its end, whether or not the client has read any of it."""

    def __init__(self, content: AsyncIterator[str], leave: Callable[[], None], headers: Mapping[str, str]) -> None:
        super().__init__(content, media_type="text/event-stream", headers={"Cache-Control": "no-store", **headers})
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
