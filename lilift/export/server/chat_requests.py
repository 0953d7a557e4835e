"""Reads chat completion requests of OpenAI clients, and refuses those that lilift cannot serve.

A bridged model was trained on single questions. The last message of the user is the question. The model does not read system
messages and earlier turns, and the response says how many messages these were.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lilift.export.runner.exported_bridge import Piece
from lilift.model.decoding.sampling import Sampling

# Settings that would change an answer and that lilift does not support. The values here have no effect and are accepted.
_WITHOUT_EFFECT: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "tools": ([],),
    "functions": ([],),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
}


class RequestError(Exception):
    """A request that is refused.

    Args:
        status: the HTTP status.
        message: what is wrong and what to do about it.
        param: the field that is wrong.
        code: OpenAI's name for the error, for programs.
    """

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code

    def as_dict(self) -> dict[str, Any]:
        """The error in the form that OpenAI clients expect."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")


class TextPart(_Part):
    """A piece of a message."""

    type: Literal["text"]
    text: str


class Message(_Part):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart] | None = None

    @property
    def text(self) -> str:
        """The text of the message."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(_Part):
    """Options of a stream: whether it ends with the numbers of tokens."""

    include_usage: bool = False


class ChatRequest(_Part):
    """The fields that lilift uses; it ignores other fields, except those in `_WITHOUT_EFFECT`."""

    model: str | None = None
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: int | None = None
    stop: (
        Annotated[str, Field(min_length=1)] | Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=4)] | None
    ) = None

    @property
    def question(self) -> str:
        """The last message of the user."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")

    @property
    def stops(self) -> list[str]:
        """Texts that end an answer."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or [])

    def sampling(self) -> Sampling | None:
        """How tokens are sampled; without a temperature, the most likely token is taken, as in evaluation."""
        if not self.temperature:
            return None
        return Sampling(self.temperature, 1.0 if self.top_p is None else self.top_p)

    def drawing_seed(self) -> int:
        """The seed of the request, or a random one."""
        return secrets.randbits(63) if self.seed is None else abs(self.seed)

    def longest(self, default: int) -> int:
        """The largest number of tokens of the answer."""
        return self.max_completion_tokens or self.max_tokens or default


def read_request(content: Any, model: str) -> ChatRequest:
    """Check a request.

    Args:
        content: its JSON.
        model: the name of the model of this server.

    Raises:
        RequestError: it is not a valid request, needs something that lilift does not support, or has no question.
    """
    if not isinstance(content, dict):
        raise RequestError(400, "the body is not a JSON object; send an object with `messages`")
    for name, harmless in _WITHOUT_EFFECT.items():
        if content.get(name) is not None and content[name] not in harmless:
            raise RequestError(400, f"lilift does not support {name}; leave it out", param=name, code="unsupported_parameter")
    try:
        request = ChatRequest.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise RequestError(400, f"{place}: {problem['msg']}", param=place, code="invalid_value") from None
    if request.model not in (None, model):
        message = f"this server has no model {request.model!r}; use {model!r}"
        raise RequestError(404, message, param="model", code="model_not_found")
    if not request.question.strip():
        raise RequestError(
            400, "the last message of the user is empty or missing; send a message with a question", param="messages"
        )
    return request


class StopTexts:
    """Ends an answer before the first of some stop texts; a stop text may be spread over several pieces.

    Args:
        texts: the stop texts; none of them is empty.
    """

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts
        self._held = ""
        self.found = False

    def passed(self, piece: Piece) -> Piece:
        """The part of the answer that may be sent now: a text that could be the beginning of a stop text waits."""
        self._held += piece.text
        places = [place for text in self._texts if (place := self._held.find(text)) >= 0]
        if places:
            self.found = True
            return Piece(self._held[: min(places)], piece.tokens, "stop")
        safe = len(self._held) if piece.ending else len(self._held) - self._beginning()
        shown, self._held = self._held[:safe], self._held[safe:]
        return Piece(shown, piece.tokens, piece.ending)

    def _beginning(self) -> int:
        """How many of the last characters could be the beginning of a stop text."""
        lengths = (size for text in self._texts for size in range(1, len(text)) if self._held.endswith(text[:size]))
        return max(lengths, default=0)

    def until(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """The pieces of the answer up to a stop text."""
        for piece in pieces:
            shown = self.passed(piece)
            yield shown
            if shown.ending:
                return
