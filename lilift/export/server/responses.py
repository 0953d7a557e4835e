"""Writes one answer as OpenAI clients expect it: a whole response, or a stream of events."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from lilift.export.runner.answer_text import Piece
from lilift.export.server.answer_worker import Answer
from lilift.export.server.chat_requests import RequestError
from lilift.recipe.errors import DataError, LiliftError

_END = "data: [DONE]\n\n"


class AnswerFields:
    """The fields of one answer's response.

    Args:
        answer: after its first piece.
        model: the name of the model.
    """

    def __init__(self, answer: Answer, model: str) -> None:
        self._answer, self._asked = answer, answer.asked
        self._id, self._created, self._model = f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), model

    def whole(self, piece: Piece) -> dict[str, Any]:
        """The response with the whole answer."""
        message = {"role": "assistant", "content": piece.text.strip(), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": piece.ending}
        usage = self._usage(piece.tokens)
        return {
            **self._beginning("chat.completion"),
            "choices": [choice],
            **({} if usage is None else {"usage": usage}),
            "lilift": self._remarks(),
        }

    def delta(self, delta: dict[str, Any], ending: str | None = None) -> dict[str, Any]:
        """A part of a stream."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": ending}
        return self._beginning("chat.completion.chunk") | {"choices": [choice]}

    def first(self) -> dict[str, Any]:
        """The first part of a stream."""
        return self.delta({"role": "assistant", "content": ""}) | {"lilift": self._remarks()}

    def last(self, tokens: int) -> dict[str, Any] | None:
        """The part with the numbers of tokens, if the request wants it."""
        usage = self._usage(tokens)
        if self._asked.stream_options is None or not self._asked.stream_options.include_usage or usage is None:
            return None
        return self._beginning("chat.completion.chunk") | {"choices": [], "usage": usage}

    @property
    def headers(self) -> dict[str, str]:
        """The route of the question as a header, for clients that do not read the field `lilift`."""
        route = self._answer.remarks.get("route")
        return {} if route is None else {"X-Lilift-Route": str(route)}

    def _beginning(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model}

    def _usage(self, tokens: int) -> dict[str, int] | None:
        """The numbers of tokens; None if they are not known."""
        prompt = self._answer.prompt
        if prompt is None:
            return None
        read = prompt.source_tokens + len(prompt.tokens)
        return {"prompt_tokens": read, "completion_tokens": tokens, "total_tokens": read + tokens}

    def _remarks(self) -> dict[str, Any]:
        """Extra facts for clients that know lilift: messages that the model did not read, whether the question was cut, and the
        route and translations if there are any."""
        known = {"unread_messages": len(self._asked.messages) - 1, "question_was_cut": self._answer.cut}
        return known | self._answer.remarks


async def events(answer: Answer, piece: Piece, fields: AnswerFields) -> AsyncIterator[str]:
    """The answer as server-sent events, one for each piece; `[DONE]` ends it, also after an error."""
    try:
        yield _event(fields.first())
        while True:
            if piece.text:
                yield _event(fields.delta({"content": piece.text}))
            if piece.ending is not None:
                break
            piece = await answer.next()
        yield _event(fields.delta({}, piece.ending))
        last = fields.last(piece.tokens)
        if last is not None:
            yield _event(last)
    except Exception as error:
        yield _event(as_request_error(error).as_dict())
    yield _END


def as_request_error(error: Exception) -> RequestError:
    """Any error as one of the request."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, DataError):
        return RequestError(400, error.line(), param="messages", code="invalid_value")
    if isinstance(error, LiliftError):
        return RequestError(500, error.line())
    return RequestError(500, f"this is a bug in lilift ({type(error).__name__}); please report it")


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"
