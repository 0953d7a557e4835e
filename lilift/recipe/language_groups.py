"""Languages as a recipe names them: codes and names in every usual spelling, and groups of MMWP's 48 languages by tier.

No group contains English. English belongs to the highest tier, but the LLM already knows it.
"""

from __future__ import annotations

from lilift.recipe.names.language_names import canonical, read_language, unknown_language

_HIGH = "de es fr it ja nl ru sv zh"
_MEDIUM = "bg ca cs da fi hr hu id ko nb pl pt ro sl sr uk vi"
_LOW = "af ar be bn eu gu ha hi hy is kn lb mk ml mr ne sk sw ta te th"
LANGUAGE_GROUPS = {
    "mmwp-high": tuple(_HIGH.split()),
    "mmwp-medium": tuple(_MEDIUM.split()),
    "mmwp-low": tuple(_LOW.split()),
    "mmwp": tuple(f"{_HIGH} {_MEDIUM} {_LOW}".split()),
}
_YAML_NO = "the YAML word `no` means false if it has no quotes; write nb (Norwegian Bokmål) or nn (Nynorsk)"


def expand_languages(value: object) -> object:
    """Replace groups by their codes and names by codes, each code once and in order. Takes a name, a group, or a list of both.

    Any other value stays as it is, and the recipe's validation refuses it. A code that the list itself names twice stays twice,
    because the validation reports that mistake.

    Raises:
        ValueError: a language is YAML's false.
    """
    if isinstance(value, str):
        value = [value]
    if value is False:
        raise ValueError(_YAML_NO)
    if not isinstance(value, (list, tuple)):
        return value
    named = [group_of(item) or canonical(item) if isinstance(item, str) else item for item in value]
    codes: list[object] = []
    for item in named:
        if item is False:
            raise ValueError(_YAML_NO)
        if isinstance(item, str) and item in LANGUAGE_GROUPS:
            codes += [code for code in LANGUAGE_GROUPS[item] if code not in named and code not in codes]
        else:
            codes.append(item)
    return codes


def group_of(name: str) -> str | None:
    """The group that a name means, in any case and with `_` or `-`; None if it means none."""
    found = name.strip().casefold().replace("_", "-")
    return found if found in LANGUAGE_GROUPS else None


def known_languages(value: object) -> object:
    """As `expand_languages`, for a recipe: it refuses what is no language that lilift knows.

    Raises:
        ValueError: a name is no language, names several, or is YAML's false.
    """
    codes = expand_languages(value)
    if codes is None:
        return None
    if not isinstance(codes, list):
        raise ValueError(f"{str(codes)[:40]!r} is no language; write codes such as sw, bn or om, or names")
    for code in codes:
        _require_known(code)
    return codes


def by_language(value: object) -> object:
    """A mapping by language with lilift's codes as keys; anything else as it is, for others to refuse.

    Raises:
        ValueError: two keys name the same language, or one names no language that lilift knows, or is YAML's false.
    """
    if not isinstance(value, dict):
        return value
    found: dict[object, object] = {}
    for name, item in value.items():
        if name is False:
            raise ValueError(_YAML_NO)
        code = canonical(name) if isinstance(name, str) and name != "*" else name
        if code != "*":
            _require_known(code)
        if code in found:
            raise ValueError(f"{code} is named twice, the second time as {name}")
        found[code] = item
    return found


def _require_known(name: object) -> None:
    if not isinstance(name, str):
        raise ValueError(f"{str(name)[:40]!r} is no language; write codes such as sw, bn or om, or names, in quotes if need be")
    if read_language(name) is None:
        raise ValueError(unknown_language(name))
