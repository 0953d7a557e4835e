"""Languages as options of a command name them: codes, names and groups; what is not clear is said on standard error."""

from __future__ import annotations

import sys


def language_codes(text: str) -> list[str]:
    """The codes behind ``sw,Bengali,mmwp-low``; remarks go to standard error.

    A name that lilift does not know stays as it is, for those who look the language up to refuse.

    Raises:
        RecipeError: no language is named.
    """
    from lilift.recipe.errors import RecipeError
    from lilift.recipe.language_groups import LANGUAGE_GROUPS, expand_languages, group_of

    given = [part.strip() for part in text.split(",") if part.strip()]
    if not given:
        raise RecipeError("no language is named", remedy=f"give codes such as sw,bn or a group: {', '.join(LANGUAGE_GROUPS)}")
    codes = expand_languages([group_of(name) or language_code(name) for name in given])
    assert isinstance(codes, list)
    return list(dict.fromkeys(codes))


def language_code(text: str) -> str:
    """The code that a name stands for, or the name itself where lilift does not know it; a remark goes to standard error."""
    from lilift.recipe.names.language_names import read_language

    found = read_language(text)
    if found is None:
        return text
    if found.remark:
        print(found.remark, file=sys.stderr)
    return found.code
