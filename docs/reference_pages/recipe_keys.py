"""The page of recipe keys, from the schema of `lilift.recipe.schema.Recipe`: type, range, default and description of each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from docs.reference_pages.pages import anchor, listed, origin, plain, table
from lilift.recipe.load import json_schema
from lilift.recipe.schema import Recipe

Schema = dict[str, Any]

INTRODUCTION = """\
# Recipe keys

A recipe is one YAML file. Each key below is written with dots: `data.max_tokens` is the key `max_tokens` in the section `data`.
On the command line, `--set data.max_tokens=512` overrides a key. A key that you leave out has its default, or the value of the
recipe that `extends` names.

```yaml
extends: llama-7b-24gb
name: mine
languages: [sw]
data:
  lexicons: ./lexicons
  max_tokens: 512
```

`lilift recipe show NAME --resolved` prints a recipe with every default. `lilift recipe validate FILE` checks yours.

A text that begins with `./`, `../`, `~` or `/` is a path. Any other text is one of lilift's words (`world`), or a file or
folder of that name if there is one, first in the folder of the recipe and then in the current folder. Otherwise it is a name
on the Hugging Face hub.

"""
LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "characters: at least {}",
    "minItems": "entries: at least {}",
    "minProperties": "entries: at least {}",
    "pattern": "matching `{}`",
}
TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}


@dataclass(frozen=True)
class Key:
    """One key with what pydantic's schema says of it; `section` names the class of a value that has keys of its own."""

    path: str
    schema: Schema
    required: bool
    section: str | None


def recipe_keys() -> list[Key]:
    """Every key, each followed by the keys within it. The path of a list's entries ends with `[]`.

    Keys that several others share (a benchmark's, for `data.held_out` and `evaluate.benchmarks`) come once, behind the last.
    """
    whole = Recipe.model_json_schema()
    found = list(_keys_within("", whole, whole["$defs"]))
    home = {key.section: key.path for key in found if key.section}
    away = tuple(key.path for key in found if key.section and home[key.section] != key.path)
    return [key for key in found if not key.path.startswith(tuple(f"{path}{end}" for path in away for end in (".", "[]")))]


def _keys_within(path: str, schema: Schema, definitions: dict[str, Schema]) -> Iterator[Key]:
    for name, inner in schema["properties"].items():
        key_path = f"{path}.{name}" if path else name
        section, is_entry = next(_references(inner), (None, False))
        yield Key(key_path, inner, name in schema.get("required", ()), section)
        if section:
            yield from _keys_within(key_path + "[]" * is_entry, definitions[section], definitions)


def _references(schema: Schema, is_entry: bool = False) -> Iterator[tuple[str, bool]]:
    """The class of a value that has keys of its own, and whether it is an entry of a list."""
    if "$ref" in schema:
        yield schema["$ref"].rsplit("/", 1)[1], is_entry
    for choice in schema.get("anyOf", schema.get("oneOf", ())):
        yield from _references(choice, is_entry)
    if schema.get("type") == "array":
        yield from _references(schema["items"], True)


def _type(schema: Schema, path: str, home: dict[str, str]) -> str:
    if "$ref" in schema:
        at = home[schema["$ref"].rsplit("/", 1)[1]]
        return "a section (the keys below)" if at == path else f"a section (the keys of [`{at}`](#{anchor(at)}))"
    choices = [choice for choice in schema.get("anyOf", schema.get("oneOf", ())) if choice.get("type") != "null"]
    if choices:
        return ", or ".join(dict.fromkeys(_type(choice, path, home) for choice in choices))
    if "enum" in schema or "const" in schema:
        return listed([f"`{value}`" for value in schema.get("enum", [schema.get("const")])])
    limits = ", ".join(text.format(schema[limit]) for limit, text in LIMITS.items() if limit in schema)
    around = f" ({limits})" if limits else ""
    if schema["type"] == "array":
        return f"list{around}, each entry: {_type(schema['items'], path, home)}"
    if schema["type"] == "object":
        names = schema.get("propertyNames", {}).get("enum")
        of = listed([f"`{name}`" for name in names], "and") if names else "a name"
        return f"mapping{around} from {of} to {_type(schema['additionalProperties'], path, home)}"
    return TYPES[schema["type"]] + around


def _extends() -> Key:
    """The one key that loading takes out before the schema sees a recipe."""
    return Key("extends", json.loads(json_schema())["properties"]["extends"], False, None)


def _default(key: Key) -> str:
    if key.required:
        return "**required**"
    if "default" not in key.schema:
        return ""
    value = key.schema["default"]
    if value is None:
        return "left out by default"
    if value in ("", [], {}):
        return "default: empty"
    as_it_is = isinstance(value, str) and value == value.strip()
    return f"default: `{value if as_it_is else json.dumps(value, ensure_ascii=False)}`"


def recipe_page() -> str:
    definitions: dict[str, Schema] = Recipe.model_json_schema()["$defs"]
    keys = [_extends(), *recipe_keys()]
    home = {key.section: key.path for key in keys if key.section}
    parts: dict[str, list[str]] = {"General": ["", "## General", ""]}
    rows = [("[General](#general)", "The recipe's name, card, languages and seed.")]
    for key in keys:
        of_class = definitions[key.section]["description"] if key.section else ""
        description = plain(key.schema.get("description") or of_class)
        if key.section and "." not in key.path:
            rows.append((f"[`{key.path}`](#{anchor(key.path)})", description))
            parts[key.path] = ["", f"## `{key.path}`", "", description + (" **Required.**" if key.required else ""), ""]
            continue
        facts = " · ".join(fact for fact in (_type(key.schema, key.path, home), _default(key)) if fact)
        place = parts.get(key.path.split(".")[0], parts["General"])
        place += [f"### `{key.path}`", "", facts, ""] + ([description, ""] if description else [])
    text = origin("lilift/recipe/schema") + "\n\n" + INTRODUCTION + table(("section", "what it sets"), rows)
    return "\n".join([text, *(line for lines in parts.values() for line in lines)]).replace("\n\n\n", "\n\n").rstrip() + "\n"
