"""The text of one cell of a data set: letter for letter as the file has it, or the reason why it has none.

The readers hand over texts as they are and numbers as they are spelled. A typed file (Parquet) has no spelling; its numbers,
dates and times get Python's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

_TEXT_PARTS = ("text", "input_text", "output_text")


class UnusableRowError(Exception):
    """A row that cannot be used; its message is the reason under which lilift counts the row."""


class _TwoValues:
    """Stands for a cell whose column the row names twice, with two values."""


TWO_VALUES: Final = _TwoValues()


def one_value_each(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A row from its columns and values; a column that stands twice with two values holds `TWO_VALUES`."""
    pairs = list(pairs)
    row = dict(pairs)
    if len(row) != len(pairs):
        for name, value in pairs:
            if row[name] != value:
                row[name] = TWO_VALUES
    return row


def text_of(value: Any, part: str) -> str:
    """The text of a cell; empty where the cell is.

    Args:
        value: what the reader found: a text, a number, true or false, nothing, or a list of content parts as in OpenAI's API.
        part: names the cell in the reason, e.g. ``question``.

    Raises:
        UnusableRowError: the cell holds something else, or characters that are not Unicode text.
    """
    text = value if isinstance(value, str) else _text_of_other(value, part)
    if not text.isascii():
        try:
            text.encode("utf-8")  # half a surrogate pair cannot be written to any file
        except UnicodeEncodeError:
            raise UnusableRowError(f"{part} is not Unicode text") from None
    return text


def _text_of_other(value: Any, part: str) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise UnusableRowError(f"{part} is not UTF-8 text") from None
    if isinstance(value, list) and value:
        # A blank line would change the text of a single part; several parts are paragraphs, and stay apart.
        return "\n".join(_text_of_part(one, part) for one in value)
    if value is TWO_VALUES:
        raise UnusableRowError(f"two values for {part}")
    if isinstance(value, (list, Mapping)):
        raise UnusableRowError(f"{part} is not text")
    # Python writes a small decimal with an exponent: 0.00000001 as 1E-8, and a zero beside it as 0E-8.
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _text_of_part(value: Any, part: str) -> str:
    """The text of one content part, e.g. of ``{"type": "text", "text": "…"}``."""
    if isinstance(value, Mapping) and value.get("type", "text") in _TEXT_PARTS and isinstance(value.get("text"), str):
        return str(value["text"])
    raise UnusableRowError(f"{part} is not text")
