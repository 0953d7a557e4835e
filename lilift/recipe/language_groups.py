"""Languages as a recipe names them: codes and names in every usual spelling, and groups of MMWP's 48 languages by tier.

No group contains English. English belongs to the highest tier, but the LLM already knows it.
"""

from __future__ import annotations

from lilift.recipe.names.language_names import canonical

_HIGH = "de es fr it ja nl ru sv zh"
_MEDIUM = "bg ca cs da fi hr hu id ko nb pl pt ro sl sr uk vi"
_LOW = "af ar be bn eu gu ha hi hy is kn lb mk ml mr ne sk sw ta te th"
LANGUAGE_GROUPS = {
    "mmwp-high": tuple(_HIGH.split()),
    "mmwp-medium": tuple(_MEDIUM.split()),
    "mmwp-low": tuple(_LOW.split()),
    "mmwp": tuple(f"{_HIGH} {_MEDIUM} {_LOW}".split()),
}
_YAML_NO = "YAML reads `no` without quotes as false; write nb (Norwegian Bokmål) or nn (Nynorsk)"


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
    named = [item if not isinstance(item, str) or item in LANGUAGE_GROUPS else canonical(item) for item in value]
    codes: list[object] = []
    for item in named:
        if item is False:
            raise ValueError(_YAML_NO)
        if isinstance(item, str) and item in LANGUAGE_GROUPS:
            codes += [code for code in LANGUAGE_GROUPS[item] if code not in named and code not in codes]
        else:
            codes.append(item)
    return codes


def by_language(value: object) -> object:
    """A mapping by language with lilift's codes as keys; anything else as it is, for others to refuse.

    Raises:
        ValueError: two keys name the same language, or one is YAML's false.
    """
    if not isinstance(value, dict):
        return value
    found: dict[object, object] = {}
    for name, item in value.items():
        if name is False:
            raise ValueError(_YAML_NO)
        code = canonical(name) if isinstance(name, str) and name != "*" else name
        if code in found:
            raise ValueError(f"{code} is named twice, the second time as {name}")
        found[code] = item
    return found
