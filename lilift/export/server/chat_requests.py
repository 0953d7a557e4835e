"""Reads chat completion requests of OpenAI clients, and refuses those that lilift cannot serve.

A bridged model was trained on single questions. The last message of the user is the question. The model does not read system
messages and earlier turns, and the response says how many messages these were.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError

from lilift.model.decoding.sampling import Sampling
from lilift.recipe.setting_mistakes import what_it_takes

# OpenAI's other settings, each with the values that have no effect here. lilift refuses their other values, because these would
# change an answer. It also refuses every field that it does not know.
_WITHOUT_EFFECT: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "tools": ([],),
    "tool_choice": ("none",),
    "functions": ([],),
    "function_call": ("none",),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    "store": (False,),
}
# These say who asks or where OpenAI keeps something, or are about tools alone. They change no answer, so lilift ignores them.
_NOTES: Mapping[str, type] = {
    "user": str,
    "metadata": dict,
    "parallel_tool_calls": bool,
    "prompt_cache_key": str,
    "safety_identifier": str,
}
LONGEST_STOP = 256
"""Characters of the longest stop text. A text that may be the beginning of one has to wait, so a stream would wait as long."""
LEAST_TEMPERATURE = 1e-6
"""The smallest temperature but 0. Logits that are divided by less than about 1e-270 are no finite numbers."""


_OWN_WORDS = {
    "temperature": f"send 0, or a number of at least {LEAST_TEMPERATURE:g}",
    "model_type": "send a JSON object",
    "dict_type": "send a JSON object",
    "string_too_long": "send a text of at most {max_length} characters",
    "too_long": "send at most {max_length} values",
}
"""Kinds of mistakes that a request says in other words than a recipe."""


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


def problem_in_words(problem: Mapping[str, Any]) -> str:
    """What is wrong with a field of a request, and what to send instead, in lilift's own words."""
    if problem["type"] == "extra_forbidden":
        return "this server knows no such field; leave it out"
    if problem["type"] == "too_short" and problem["ctx"]["actual_length"] == 0:
        return "this list is empty; give at least one"
    if problem["type"] == "missing":
        return "this field is missing; send it"
    if problem["type"] in _OWN_WORDS:
        return _OWN_WORDS[problem["type"]].format(**problem.get("ctx") or {})
    return f"send {what_it_takes(problem)}"


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


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

    model_config = ConfigDict(extra="forbid")

    include_usage: bool | None = False


class LiliftOptions(_Part):
    """What only lilift's clients say: the language of the question."""

    model_config = ConfigDict(extra="forbid")

    language: str | None = None


_TEMPERATURES = {"anyOf": [{"const": 0}, {"type": "number", "minimum": LEAST_TEMPERATURE, "maximum": 2}]}
_Stop = Annotated[str, Field(min_length=1, max_length=LONGEST_STOP)]


class ChatRequest(_Part):
    """The fields that lilift uses; `read_request` checks the other fields."""

    model: str | None = None
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2), WithJsonSchema(_TEMPERATURES)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: int | None = None
    stop: _Stop | Annotated[list[_Stop], Field(max_length=4)] | None = None
    lilift: LiliftOptions | None = None

    @field_validator("temperature")
    @classmethod
    def _finite_logits(cls, value: float | None) -> float | None:
        if value and value < LEAST_TEMPERATURE:
            raise PydanticCustomError("temperature", "too small")
        return value

    @property
    def question(self) -> str:
        """The last message of the user."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")

    @property
    def language(self) -> str | None:
        """The language of the question, if the client says it."""
        return None if self.lilift is None else self.lilift.language

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


def read_request(content: Any, models: Mapping[str, Sequence[str]]) -> ChatRequest:
    """Check a request.

    Args:
        content: its JSON.
        models: for each model of this server the languages that a request may name. The first one is the default.

    Raises:
        RequestError: it is not a valid request, needs something that lilift does not support, or has no question.
    """
    if not isinstance(content, dict):
        raise RequestError(400, "the body is not a JSON object; send an object with `messages`")
    _check_other_fields(content)
    try:
        request = ChatRequest.model_validate(content)
    except ValidationError as error:
        # Of a type's alternatives, the one that fits best.
        problem = max(error.errors(), key=lambda one: (len(one["loc"]), one["type"] == "too_long"))
        place = _place_in(content, problem["loc"], missing=problem["type"] == "missing")
        raise RequestError(400, f"{place}: {problem_in_words(problem)}", param=place, code="invalid_value") from None
    if request.model is not None and request.model not in models:
        message = f"this server has no model {request.model!r}; use {' or '.join(map(repr, models))}"
        raise RequestError(404, message, param="model", code="model_not_found")
    languages = models[request.model or next(iter(models))]
    if request.language is not None and languages and request.language not in languages:
        message = f"this server does not know the language {_shown(request.language)!r}; use {', '.join(languages)}"
        raise RequestError(400, message, param="lilift.language", code="invalid_value")
    if not request.question.strip():
        raise RequestError(
            400, "the last message of the user is empty or missing; send a message with a question", param="messages"
        )
    return request


def request_schema(reference: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON schema of a request, and those of its parts by name.

    Args:
        reference: how a schema refers to a part, such as ``#/components/schemas/{model}``.
    """
    schema = ChatRequest.model_json_schema(ref_template=reference)
    parts: dict[str, Any] = schema.pop("$defs")
    kinds = {str: "string", dict: "object", bool: "boolean"}
    schema["properties"] |= {name: {"type": [kinds[kind], "null"]} for name, kind in _NOTES.items()}
    schema["properties"] |= {name: {"enum": [*values, None]} for name, values in _WITHOUT_EFFECT.items()}
    schema["additionalProperties"] = {"type": "null"}  # clients send every field that they know, most of them empty
    return schema, parts


def _check_other_fields(content: Mapping[str, Any]) -> None:
    for name, value in content.items():
        if value is None or name in ChatRequest.model_fields:
            continue
        if name in _NOTES:
            if not isinstance(value, _NOTES[name]):
                raise RequestError(400, f"{name}: not a value of the right type", param=name, code="invalid_value")
        elif not any(_same(value, harmless) for harmless in _WITHOUT_EFFECT.get(name, ())):
            message = f"lilift does not support {_shown(name)}; leave it out"
            raise RequestError(400, message, param=name, code="unsupported_parameter")


def _same(value: Any, other: Any) -> bool:
    """Whether two values are the same in JSON, where `true` is not 1."""
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def _shown(name: str) -> str:
    return name if len(name) <= 100 else name[:100] + "…"


def _place_in(content: Any, location: Sequence[int | str], *, missing: bool) -> str:
    """A place in the request as OpenAI writes it, such as `messages[0].content`.

    Args:
        content: the request.
        location: pydantic's path, which also names the alternatives of a type.
        missing: the last part is a field that is not in the request.
    """
    place = ""
    for index, part in enumerate(location):
        if isinstance(content, list) and isinstance(part, int) and part < len(content):
            place += f"[{part}]"
        elif isinstance(content, dict) and (part in content or (missing and index == len(location) - 1)):
            place += f".{part}" if place else str(part)
        else:
            continue
        content = content[part] if not isinstance(content, dict) or part in content else None
    return place
