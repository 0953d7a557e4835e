"""Sends one answer to a client, whole or piece by piece; one thread generates it and another thread sends it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lilift.export.runner.exported_bridge import ExportedBridge, Piece
from lilift.export.server.chat_requests import ChatRequest, RequestError, StopTexts
from lilift.recipe.errors import LiliftError


class Answer:
    """One answer while the model generates it, in the thread that generates all answers."""

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
        """The next piece of the answer.

        Raises:
            LiliftError: the model cannot answer the question.
        """
        piece = await self._pieces.get()
        if isinstance(piece, Exception):
            raise piece
        return piece

    def leave(self) -> None:
        """Stop: the answer is complete, or the client has left."""
        self._left.set()
        if self._finished is not None:
            self._finished()
            self._finished = None

    def fields(self, kind: str) -> dict[str, Any]:
        """The fields at the beginning of every response and of every part of one."""
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def usage(self, tokens: int) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": self.prompt_tokens + tokens,
        }

    def remarks(self) -> dict[str, Any]:
        """Extra facts for clients that know lilift: messages that the model did not read, and whether the question was cut."""
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


async def whole(answer: Answer, piece: Piece, request: Request) -> Response:
    """One response with the whole answer, after it is complete."""
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


async def events(answer: Answer, piece: Piece, asked: ChatRequest) -> AsyncIterator[str]:
    """The answer as server-sent events, one for each piece."""

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
