"""The server's OpenAPI document: what every address takes and answers, for programs that make or test clients."""

from __future__ import annotations

from typing import Any

from lilift import __version__
from lilift.export.server.chat_requests import request_schema
from lilift.export.server.ratings import Rating

PATH = "/openapi.json"
RATINGS = "/v1/lilift/ratings"
_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_REASONS = {
    400: "The request is not valid, or needs something that lilift does not support; `param` names the field.",
    401: "The API key is missing or wrong.",
    403: "The server does not accept the host name.",
    404: "There is no such model, or the server keeps no ratings.",
    408: "The request did not arrive in time.",
    413: "The request is too large.",
    415: "The body is not JSON.",
    500: "The model failed.",
    503: "The server is busy or stops; try again.",
}


def openapi_document() -> dict[str, Any]:
    """The document, in the form of OpenAPI 3.1."""
    request, parts = request_schema("#/components/schemas/{model}")
    languages = {"type": "array", "items": _TEXT}
    facts = _object(takes_ratings={"type": "boolean"}, languages=languages)
    model = _object(id=_TEXT, object={"const": "model"}, created=_COUNT, owned_by=_TEXT, lilift=facts)
    models = _object(object={"const": "list"}, data=_list(model, most=2))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "lilift serve",
            "version": __version__,
            "description": "One model that answers questions, with a part of OpenAI's chat completions.",
        },
        "paths": {
            "/v1/chat/completions": {
                "post": {
                    "summary": "Answer the last message of the user",
                    "requestBody": {"required": True, "content": {"application/json": {"schema": _named("ChatRequest")}}},
                    "responses": {
                        "200": {
                            "description": "The answer, whole or as a stream of events that ends with `data: [DONE]`.",
                            "content": {
                                "application/json": {"schema": _named("ChatCompletion")},
                                "text/event-stream": {"schema": _TEXT},
                            },
                        },
                        **_errors(400, 401, 403, 404, 408, 413, 415, 500, 503),
                    },
                    "security": [{}, {"key": []}],
                }
            },
            RATINGS: {
                "post": {
                    "summary": "Keep what a person thinks of an answer",
                    "requestBody": {"required": True, "content": {"application/json": {"schema": Rating.model_json_schema()}}},
                    "responses": {
                        "201": {
                            "description": "The rating is saved.",
                            "content": {"application/json": {"schema": _object(saved={"const": True})}},
                        },
                        **_errors(400, 401, 403, 404, 408, 413, 415, 500, 503),
                    },
                    "security": [{}, {"key": []}],
                }
            },
            "/v1/models": _reading("The model and, if there is one, the model beside it", models, 400, 401, 403),
            "/v1/models/{model}": {
                "parameters": [{"name": "model", "in": "path", "required": True, "schema": _TEXT}],
                **_reading("A model by its name", model, 400, 401, 403, 404),
            },
            "/health": _reading("Whether the server runs; it needs no key", _object(status={"const": "ok"}), 400, 403),
            PATH: _reading("This document; it needs no key", {"type": "object"}, 400, 403),
        },
        "components": {
            "schemas": {"ChatRequest": request, **parts, "ChatCompletion": _completion(), "Error": _error()},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _completion() -> dict[str, Any]:
    message = _object(role={"const": "assistant"}, content=_TEXT, refusal={"type": "null"})
    choice = _object(index={"const": 0}, message=message, logprobs={"type": "null"}, finish_reason={"enum": ["stop", "length"]})
    remarks = _object(unread_messages=_COUNT, question_was_cut={"type": "boolean"})
    yes_or_no, number = {"type": "boolean"}, {"type": "number", "minimum": 0}
    remarks["properties"] |= {
        **{"route": {"enum": ["plain", "pivot", "bridge"]}, "route_reason": _TEXT},
        **{"tokens_per_word": number, "bits_per_word": number},
        **{"translated": _TEXT, "numbers_kept": yes_or_no, "translation_complete": yes_or_no},
        **{"untranslated": _TEXT, "response_numbers_kept": yes_or_no, "response_complete": yes_or_no},
    }
    found = _object(
        id=_TEXT,
        object={"const": "chat.completion"},
        created=_COUNT,
        model=_TEXT,
        choices=_list(choice),
        usage=_object(prompt_tokens=_COUNT, completion_tokens=_COUNT, total_tokens=_COUNT),
        lilift=remarks,
    )
    found["required"].remove("usage")  # not every model counts tokens
    return found


def _error() -> dict[str, Any]:
    text_or_nothing = {"type": ["string", "null"]}
    kinds = {"enum": ["invalid_request_error", "server_error"]}
    return _object(error=_object(message=_TEXT, type=kinds, param=text_or_nothing, code=text_or_nothing))


def _reading(summary: str, schema: dict[str, Any], *errors: int) -> dict[str, Any]:
    """A path that is only read."""
    found = {"200": {"description": summary, "content": {"application/json": {"schema": schema}}}, **_errors(*errors)}
    return {"get": {"summary": summary, "responses": found, **({"security": [{}, {"key": []}]} if 401 in errors else {})}}


def _errors(*statuses: int) -> dict[str, Any]:
    content = {"application/json": {"schema": _named("Error")}}
    return {str(status): {"description": _REASONS[status], "content": content} for status in statuses}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _list(items: dict[str, Any], *, most: int = 1) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": most}


def _named(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}
