"""Groups of languages that a recipe can name: MMWP's 48 languages by resource tier.

No group contains English. English belongs to the highest tier, but the LLM already knows it.
"""

from __future__ import annotations

_HIGH = "de es fr it ja nl ru sv zh"
_MEDIUM = "bg ca cs da fi hr hu id ko nb pl pt ro sl sr uk vi"
_LOW = "af ar be bn eu gu ha hi hy is kn lb mk ml mr ne sk sw ta te th"
LANGUAGE_GROUPS = {
    "mmwp-high": tuple(_HIGH.split()),
    "mmwp-medium": tuple(_MEDIUM.split()),
    "mmwp-low": tuple(_LOW.split()),
    "mmwp": tuple(f"{_HIGH} {_MEDIUM} {_LOW}".split()),
}


def expand_languages(value: object) -> object:
    """Replace groups by their codes, each code once and in order. Takes a code, a group, or a list of both.

    Any other value stays as it is, and the recipe's validation refuses it. A code that the list itself names twice stays twice,
    because the validation reports that mistake.
    """
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, (list, tuple)):
        return value
    codes: list[object] = []
    for item in value:
        if isinstance(item, str) and item in LANGUAGE_GROUPS:
            codes += [code for code in LANGUAGE_GROUPS[item] if code not in value and code not in codes]
        else:
            codes.append(item)
    return codes
