"""Says in plain words what is wrong with a setting: one line for every kind of mistake that pydantic can find in a recipe."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from lilift.recipe.errors import RecipeError

Key = tuple[str, ...]
_Mistake = Mapping[str, Any]
_SHOWN = 80  # characters of a wrong value

# Kind of mistake → what the setting takes. Kinds that begin with these texts, such as int_parsing, mean the same.
_TAKES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "literal_error": lambda limits: str(limits["expected"]),
    "int_": lambda _limits: "a whole number, such as 100",
    "float_": lambda _limits: "a number, such as 0.5",
    "finite_number": lambda _limits: "a finite number",
    "bool_": lambda _limits: "true or false",
    "greater_than_equal": lambda limits: f"a number of {_figure(limits['ge'])} or more",
    "greater_than": lambda limits: f"a number greater than {_figure(limits['gt'])}",
    "less_than_equal": lambda limits: f"a number of at most {_figure(limits['le'])}",
    "less_than": lambda limits: f"a number less than {_figure(limits['lt'])}",
    "string_pattern_mismatch": lambda _limits: "lower-case letters, digits, `.`, `_` and `-`; the first is a letter or digit",
    "string_too_short": lambda _limits: "a text that is not empty",
    "string_unicode": lambda _limits: "a text that UTF-8 can hold",
    "string_": lambda _limits: "a text",
    "too_short": lambda _limits: "at least one value",
    "tuple_type": lambda _limits: "a list, such as [a, b]",
    "list_type": lambda _limits: "a list, such as [a, b]",
    "dict_type": lambda _limits: "a mapping, such as {a: b}",
    "model_": lambda _limits: "settings of its own: one a line, indented below its name",
}


def first_mistake(
    error: ValidationError, settings: Mapping[str, Any], sources: Mapping[Key, str], whole: type[BaseModel]
) -> RecipeError:
    """The mistake that helps the user most, as one line.

    Args:
        error: what pydantic found.
        settings: the recipe as plain values.
        sources: the place where each key was written.
        whole: the model of a whole recipe, which knows the names of its settings.
    """
    mistakes = error.errors(include_url=False)
    # If a required key is misspelt, pydantic reports two mistakes: the misspelling helps the user more than the missing key.
    mistake = next((found for found in mistakes if found["type"] == "extra_forbidden"), mistakes[0])
    kind = mistake["type"]
    key = _visible_key(mistake["loc"], kind, settings)
    where = _nearest_source(key, sources)
    name = ".".join(key)
    if kind == "extra_forbidden":
        known = _fields_at(key[:-1], whole)
        return RecipeError(
            f"unknown setting {name!r}{did_you_mean(key[-1], known)}",
            where=where,
            remedy=f"the settings here are {', '.join(sorted(known))}",
        )
    if kind == "missing":
        return RecipeError(f"the setting {name!r} is missing", where=where, remedy="add it")
    if kind == "value_error":  # lilift's own words
        message = mistake["msg"].removeprefix("Value error, ")
        if not key:
            return RecipeError(message, where=where, remedy="see `lilift recipe show tiny-cpu` for a complete recipe")
        return RecipeError(f"{name}: {message[0].lower()}{message[1:]}", where=where, remedy=_now(mistake))
    if not key:
        return RecipeError("the recipe is not a mapping of settings", where=where, remedy="see `lilift recipe show tiny-cpu`")
    # A setting that takes several kinds of values has a mistake for each of them.
    same = [found for found in mistakes if _visible_key(found["loc"], found["type"], settings) == key]
    takes = list(dict.fromkeys(what_it_takes(found) for found in same))
    if takes == ["a text"]:
        given = _shown(mistake)
        return RecipeError(
            f"{name} is a text, but YAML reads this value as {given}",
            where=where,
            remedy=f'put the text in quotes: `{key[-1]}: "…"` in a file, --set \'{name}="…"\' in a shell',
        )
    close = did_you_mean(str(mistake.get("input")), _words_in(takes))
    return RecipeError(f"{name}: write {', or '.join(takes)}{close}", where=where, remedy=_now(mistake))


def what_it_takes(mistake: _Mistake) -> str:
    """What a value has to be, in plain words, for one mistake that pydantic has found: ``a whole number, such as 100``."""
    kind, limits = str(mistake["type"]), mistake.get("ctx") or {}
    for beginning, words in _TAKES.items():
        if kind == beginning or (beginning.endswith("_") and kind.startswith(beginning)):
            return words(limits)
    return "another value; `docs/reference/recipe.md` describes the setting"


def _figure(number: float) -> str:
    """A limit without the decimal point that a whole number does not need."""
    return str(int(number)) if float(number).is_integer() else str(number)


def _words_in(takes: Sequence[str]) -> list[str]:
    """The words in quotation marks, of which a user may have misspelt one."""
    return [word for text in takes for word in text.split("'")[1::2]]


def _now(mistake: _Mistake) -> str:
    return f"it is now {_shown(mistake)}"


def _shown(mistake: _Mistake) -> str:
    return json.dumps(mistake.get("input"), default=str, ensure_ascii=False)[:_SHOWN]


def _visible_key(location: tuple[int | str, ...], kind: str, settings: Mapping[str, Any]) -> Key:
    """Drop the parts of pydantic's location that name a branch of a type and are no key of the file."""
    key: list[str] = []
    place: Any = settings
    for number, part in enumerate(location, start=1):
        missing = kind == "missing" and number == len(location)
        if isinstance(place, Mapping) and (str(part) in place or missing):
            place = place.get(str(part))
        elif isinstance(place, list) and isinstance(part, int):
            place = place[part] if part < len(place) else None
        else:
            continue
        key.append(str(part))
    return tuple(key)


def _nearest_source(key: Key, sources: Mapping[Key, str]) -> str | None:
    for length in range(len(key), -1, -1):
        if key[:length] in sources:
            return sources[key[:length]]
    return None


def _fields_at(key: Key, whole: type[BaseModel]) -> list[str]:
    """The names of the settings in a section of a recipe."""
    model = whole
    for part in key:
        if part.isdigit():
            continue
        inner = _inner_model(model.model_fields[part].annotation) if part in model.model_fields else None
        if inner is None:
            return []
        model = inner
    return [*model.model_fields, *(["extends"] if not key else [])]


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _inner_model(argument)
        if found is not None:
            return found
    return None


def did_you_mean(name: str, known: Sequence[str] | Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
