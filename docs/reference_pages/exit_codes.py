"""The page of exit codes, from `lilift/recipe/errors.py`: each error's code and docstring, and the documented constants."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise

from docs.reference_pages.pages import origin, plain, table
from lilift.recipe import errors

INTRODUCTION = """\
# Exit codes

`lilift` ends with one of these codes. A script can tell from it what went wrong.

{table}

Errors 2 to 8 are one line: where it happened, what happened, and what to do. `--debug`, anywhere on the command line, shows the
traceback too.
"""


def constants() -> dict[str, tuple[int, str]]:
    """Each `EXIT_…` constant with its value and the text that documents it (the string below it)."""
    statements = ast.parse(inspect.getsource(errors)).body
    found: dict[str, tuple[int, str]] = {}
    for statement, following in pairwise(statements):
        if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)):
            continue
        name = statement.targets[0].id
        if name.startswith("EXIT_"):
            text = following.value if isinstance(following, ast.Expr) else None
            if not (isinstance(text, ast.Constant) and isinstance(text.value, str)):
                raise ValueError(f"lilift/recipe/errors.py: {name} has no text below it that says what it means")
            found[name] = (getattr(errors, name), " ".join(text.value.split()))
    return found


def exit_codes() -> dict[int, tuple[str, str]]:
    """The meaning of every exit code and the class of its errors (or nothing), in the order of the codes."""
    codes = {code: (meaning, "") for code, meaning in constants().values()}
    for name, error in vars(errors).items():
        if inspect.isclass(error) and issubclass(error, errors.LiliftError) and error is not errors.LiliftError:
            codes[error.exit_code] = (inspect.cleandoc(error.__doc__ or "").split("\n\n")[0].replace("\n", " "), name)
    return dict(sorted(codes.items()))


def exit_codes_page() -> str:
    rows = [(str(code), plain(meaning), f"`{name}`" if name else "") for code, (meaning, name) in exit_codes().items()]
    return origin("lilift/recipe/errors.py") + "\n\n" + INTRODUCTION.format(table=table(("code", "meaning", "in Python"), rows))
