"""Writes regular expressions that find any word of a long list fast."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable


def any_of(words: Iterable[str], *, whole: bool = False) -> str:
    r"""A regular expression for any of the words that tries every first letter only once; longer words first.

    With `whole`, no letter or digit may stand before the word. The expression checks this after the first letter, because
    Python skips all other characters quickly if an expression begins with letters, and not if it begins with ``\b``.
    """
    by_first: dict[str, list[str]] = defaultdict(list)
    for word in words:
        by_first[word[:1]].append(word[1:])
    if "" in by_first:
        rest = {first: tails for first, tails in by_first.items() if first}
        return f"(?:{any_of(first + tail for first, tails in rest.items() for tail in tails)})?" if rest else ""
    parts = []
    for first, tails in sorted(by_first.items()):
        letter = re.escape(first)
        parts.append(letter + (rf"(?<!\w{letter})" if whole else "") + (any_of(tails) if tails != [""] else ""))
    return f"(?:{'|'.join(parts)})" if len(parts) > 1 else parts[0]
