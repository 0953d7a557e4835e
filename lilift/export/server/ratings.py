"""Keeps what people think of answers, a JSON line each, in a form that lilift reads as instructions.

    {"question": "…", "response": "…", "right": true, "said": "…", "model": "…", "time": 1700000000}

`response` is what a model should have said: the answer if a person called it right, their correction if they wrote one, or
nothing. lilift leaves out rows with an empty response when it reads the file as instructions, so that no model learns wrong
answers. `said` is the answer, and `model` the model that gave it. Its name is not
`answer`, because lilift would read that as the result of a problem.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lilift.export.server.chat_requests import RequestError, problem_in_words
from lilift.recipe.errors import LiliftError
from lilift.recipe.storage import JsonLines


class Rating(BaseModel):
    """One person's opinion of one answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    question: Annotated[str, Field(min_length=1)]
    answer: str
    right: bool
    correction: str = ""
    model: str | None = None


class Ratings:
    """The file of a server's ratings.

    Args:
        path: the file; later ratings are added to what is there.
        model: the name of the model that answers.
        others: the names of further models that answer beside it.
    """

    def __init__(self, path: Path, model: str, others: Sequence[str] = ()) -> None:
        self._lines, self._models = JsonLines(path), (model, *others)

    def add(self, content: Any) -> None:
        """Check a rating and keep it.

        Args:
            content: JSON with the fields of `Rating`.

        Raises:
            RequestError: it is not a valid rating, or the file cannot be written.
        """
        try:
            rating = Rating.model_validate(content)
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(map(str, problem["loc"])) or "the body"
            raise RequestError(400, f"{place}: {problem_in_words(problem)}", param=place, code="invalid_value") from None
        if rating.model not in (None, *self._models):
            message = f"model: this server has no model of this name; use {' or '.join(map(repr, self._models))}"
            raise RequestError(400, message, param="model", code="invalid_value")
        response = rating.answer if rating.right else rating.correction.strip()
        record = {"question": rating.question, "response": response, "right": rating.right, "said": rating.answer}
        try:
            self._lines.append(record | {"model": rating.model or self._models[0], "time": int(time.time())})
        except LiliftError as error:
            raise RequestError(500, f"the rating is not saved: {error.what}", code="not_saved") from None
