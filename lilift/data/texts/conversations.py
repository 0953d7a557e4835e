"""The first question of a conversation and its answer, in the ways in which people write conversations down.

Read are lists of turns with a role and a text (ShareGPT, OpenAI, TRL), the same as one JSON string, and the two lists that
older versions of `datasets` made of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from lilift.data.rows.cells import TWO_VALUES, UnusableRowError, text_of
from lilift.data.rows.json_rows import decode_json

_ASKED_BY = frozenset(["human", "user", "prompter"])
_ANSWERED_BY = frozenset(["gpt", "assistant", "model", "bot", "ai", "chatgpt", "bing", "bard"])
_ROLES = ("from", "role")
_CONTENTS = ("value", "content", "text")


def is_conversation(value: Any) -> bool:
    """Whether a cell holds a conversation, of whatever quality."""
    return isinstance(value, list) or _listed(value) is not None


def has_turns(value: Any) -> bool:
    """Whether a cell holds a list of turns with roles, and not a plain text or a list of content parts."""
    listed = _listed(value)
    return listed is not None and any(_role(turn) for turn in listed if isinstance(turn, Mapping))


def first_exchange(*cells: Any) -> tuple[str, str]:
    """The first question of a conversation and the answer right after it.

    Args:
        cells: a cell with all turns, or a prompt and its completion one after the other. A plain text beside a list of turns is
            the question if it stands first, and the answer otherwise.

    Raises:
        UnusableRowError: there is no conversation, a turn is missing or has no role, or no answer follows a question.
    """
    turns: list[Any] = []
    are_texts = all(isinstance(cell, str) for cell in cells)
    for place, cell in enumerate(cells):
        if cell is TWO_VALUES:
            raise UnusableRowError("two values for conversation")
        # Beside a list of turns, a text that looks like one (an example of an API, say) is a text.
        if len(cells) > 1 and (not has_turns(cell) or (isinstance(cell, str) and not are_texts)):
            turns.append({"role": "assistant" if place else "user", "content": cell})
        else:
            turns += _listed(cell) or []
    if not turns:
        raise UnusableRowError("no conversation")
    spoken = [(_role_of(turn), turn) for turn in turns]
    for (asker, question), (answerer, response) in itertools.pairwise(spoken):
        if asker in _ASKED_BY and answerer in _ANSWERED_BY:
            return text_of(_content(question), "question"), text_of(_content(response), "response")
    raise UnusableRowError("no question with an answer after it")


def _listed(value: Any) -> list[Any] | None:
    """The turns of a cell, or None where the cell holds none."""
    if isinstance(value, str) and value.lstrip().startswith("[") and "{" in value:
        try:
            value = decode_json(value)
        except (ValueError, RecursionError):
            return None
    if isinstance(value, Mapping):  # {"role": ["user", …], "content": ["…", …]}
        columns = {name: cells for name, cells in value.items() if isinstance(cells, list)}
        return [dict(zip(columns, cells, strict=False)) for cells in zip(*columns.values(), strict=False)] or None
    return value if isinstance(value, list) else None


def _role(turn: Mapping[str, Any]) -> str:
    found = next((turn[name] for name in _ROLES if isinstance(turn.get(name), str)), "")
    return found.strip().lower()


def _role_of(turn: Any) -> str:
    if turn is None:
        raise UnusableRowError("a turn is missing")
    role = _role(turn) if isinstance(turn, Mapping) else ""
    if not role:
        raise UnusableRowError("a turn has no role")
    return role


def _content(turn: Mapping[str, Any]) -> Any:
    return next((turn[name] for name in _CONTENTS if turn.get(name) is not None), None)
