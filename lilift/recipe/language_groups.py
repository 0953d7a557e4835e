"""Groups of languages that a recipe can name: MMWP's 48 languages by resource tier.

English belongs to the highest tier, but is what the LLM already knows, so that no group holds it.
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
    """A code, a group or a list of both as codes, each once and in order; anything else as it is, for others to refuse.

    A code that is listed twice by itself stays so: that is a mistake worth telling.
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
