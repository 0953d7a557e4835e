"""Loads a recipe: from a name or file to a validated `Recipe`.

`load_recipe("tiny-cpu", ["align.epochs=2"])` finds the YAML file, merges it with the recipes that it extends (if any), applies
the overrides in order, and validates the result. Every mistake becomes one `RecipeError` with the file, the line, and the name
that the user probably meant.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from lilift.recipe.errors import RecipeError
from lilift.recipe.names.local_paths import resolve_settings
from lilift.recipe.schema import Recipe
from lilift.recipe.setting_mistakes import did_you_mean, first_mistake
from lilift.recipe.yaml_text import read_yaml

Key = tuple[str, ...]


def recipes_folder() -> Path:
    """The folder of the shipped recipes: beside the package in a checkout, inside the package when it is installed."""
    packaged = Path(str(resources.files("lilift"))) / "shipped_recipes"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "recipes"


def shipped_recipes() -> dict[str, Path]:
    """Every shipped recipe by name, in alphabetical order."""
    return {path.stem: path for path in sorted(recipes_folder().glob("*.yaml"))}


def find_recipe(name_or_path: str) -> Path:
    """The file behind a recipe's name or path.

    Raises:
        RecipeError: there is no such recipe or file.
    """
    shipped = shipped_recipes()
    if name_or_path in shipped:
        return shipped[name_or_path]
    path = Path(name_or_path).expanduser()
    if path.suffix in (".yaml", ".yml") or path.exists():
        if path.is_file():
            return path
        raise RecipeError("no such recipe file", where=path, remedy="check the path, or see `lilift recipe list`")
    files = (path.with_name(path.name + end) for end in (".yaml", ".yml"))
    written = next((file for file in files if file.is_file()), None)
    if written is not None:
        raise RecipeError(
            f"lilift ships no recipe {name_or_path!r}, but there is a file {written.name}", remedy=f"write {written}"
        )
    raise RecipeError(
        f"lilift has no recipe {name_or_path!r}{did_you_mean(name_or_path, shipped)}",
        remedy="see `lilift recipe list`, or give the path of a .yaml file",
    )


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Find a recipe, merge it with the one that it extends, apply overrides, and validate it.

    Args:
        name_or_path: a shipped recipe's name, or a YAML file.
        overrides: texts like ``align.epochs=2``; lilift reads the value as YAML.

    Raises:
        RecipeError: the name, the file, an override or a setting is wrong.
    """
    path = find_recipe(name_or_path)
    settings, lines = _read_with_lines(path)
    parent_name = settings.pop("extends", None)
    if parent_name is not None:
        settings, lines = _extend(parent_name, path, settings, lines)
    sources = {key: f"{path}:{line}" for key, line in lines.items()} | {(): str(path)}
    for override in overrides:
        key, value = parse_override(override)
        _set(settings, key, resolve_settings(value, Path.cwd(), key), override)
        for stale in [known for known in sources if known[: len(key)] == key]:
            del sources[stale]
        sources[key] = f"--set {override}"
    return validate_recipe(settings, sources)


def validate_recipe(settings: Mapping[str, Any], sources: Mapping[Key, str]) -> Recipe:
    """Validate plain settings. `sources` gives the place where each key was written, for errors.

    Raises:
        RecipeError: a setting is unknown, missing or wrong, or two settings contradict each other.
    """
    try:
        return Recipe.model_validate(settings)
    except ValidationError as error:
        raise first_mistake(error, settings, sources, Recipe) from None


def parse_override(text: str) -> tuple[Key, Any]:
    """Split ``a.b=c`` into its key and its YAML value.

    Raises:
        RecipeError: the text has no key, or the value is not YAML.
    """
    name, separator, value = text.partition("=")
    if not separator or not all(name.split(".")):
        raise RecipeError(f"cannot read the override {text!r}", remedy="write --set section.setting=value")
    try:
        return tuple(name.strip().split(".")), read_yaml(value)[0]
    except yaml.YAMLError:
        raise RecipeError(
            f"the value in --set {text[:80]!r} is not valid YAML", remedy="put it in quotes if it has special characters"
        ) from None


def dump_recipe(recipe: Recipe) -> str:
    """The recipe with every default, as YAML. `load_recipe` reads it back as the same recipe."""
    return yaml.safe_dump(recipe.as_dict(), sort_keys=False, allow_unicode=True, width=120)


def fingerprint(*parts: object) -> str:
    """A short digest of plain JSON values, 16 hexadecimal digits. Equal settings have equal fingerprints on every machine."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:16]


def json_schema() -> str:
    """The schema that editors use to complete and check recipes."""
    schema = Recipe.model_json_schema()
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "Name or file of another recipe. This recipe then says only what it changes. The other recipe may "
        "extend a third one.",
    }
    schema["required"] = []  # a recipe that extends another one may leave out anything
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _extend(
    parent_name: object,
    path: Path,
    settings: dict[str, Any],
    lines: dict[Key, int],
    below: frozenset[Path] = frozenset(),
) -> tuple[dict[str, Any], dict[Key, int]]:
    """Merge settings with those of the recipe that they extend, which may extend another one itself."""
    if not isinstance(parent_name, str):
        raise RecipeError("`extends` is not the name of a recipe", where=path, remedy="write, for example, `extends: tiny-cpu`")
    local = path.parent / parent_name
    parent_path = local if local.is_file() else find_recipe(parent_name)
    below = below | {path.resolve()}
    if parent_path.resolve() in below:
        raise RecipeError(
            f"the recipe extends {parent_name!r}, which extends this recipe again",
            where=path,
            remedy="extend a shipped recipe instead (see `lilift recipe list`)",
        )
    parent, _ = _read_with_lines(parent_path)
    parent.pop("name", None)
    grandparent_name = parent.pop("extends", None)
    if grandparent_name is not None:
        parent, _ = _extend(grandparent_name, parent_path, parent, {}, below)
    return _merge(parent, settings), lines


def _merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _set(settings: dict[str, Any], key: Key, value: Any, override: str) -> None:
    """Set a nested value. A number in the key selects the entry of a list, as in ``evaluate.benchmarks.0.limit=5``."""
    place: Any = settings
    for part in key[:-1]:
        if isinstance(place, list):
            place = place[_list_index(place, part, override)]
        else:
            if not isinstance(place.get(part), (dict, list)):
                place[part] = {}
            place = place[part]
    if isinstance(place, list):
        place[_list_index(place, key[-1], override)] = value
    else:
        place[key[-1]] = value


def _list_index(items: list[Any], part: str, override: str) -> int:
    if not part.isdigit() or int(part) >= len(items):
        raise RecipeError(f"--set {override}: {part!r} is not an entry of a list of {len(items)}", remedy="count from 0")
    return int(part)


def _read_with_lines(path: Path) -> tuple[dict[str, Any], dict[Key, int]]:
    """Read a YAML mapping, and the line of every key in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise RecipeError("the recipe is not UTF-8 text", where=path, remedy="save it as UTF-8") from None
    except OSError as error:
        raise RecipeError(f"cannot read the recipe ({error.strerror})", where=path) from None
    try:
        settings, root = read_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise RecipeError(f"not valid YAML ({problem})", where=where, remedy="check the indentation and the colons") from None
    if not isinstance(settings, dict) or not isinstance(root, yaml.MappingNode):
        raise RecipeError("the recipe is empty or not a mapping of settings", where=path, remedy="start from a shipped recipe")
    # Users keep no files beside a shipped recipe, so its paths start at the folder that the user starts lilift in.
    folder = Path.cwd() if path.parent == recipes_folder() else path.resolve().parent
    resolved = resolve_settings(settings, folder)
    return resolved, dict(_lines(root, (), path))


def _lines(node: yaml.Node, key: Key, path: Path) -> Iterator[tuple[Key, int]]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for name, value in node.value:
            if name.value in seen:
                raise RecipeError(
                    f"{'.'.join((*key, name.value))} is set twice",
                    where=f"{path}:{name.start_mark.line + 1}",
                    remedy="keep one",
                )
            seen.add(name.value)
            yield (*key, str(name.value)), name.start_mark.line + 1
            yield from _lines(value, (*key, str(name.value)), path)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*key, str(index)), value.start_mark.line + 1
            yield from _lines(value, (*key, str(index)), path)
