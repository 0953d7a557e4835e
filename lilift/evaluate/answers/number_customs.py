"""How each language writes numbers: decimal mark, group marks, minus, digits of its own script, Indian groups.

`number_customs.tsv` is generated from Unicode's CLDR (`python -m benchmarks number_customs_table`). The generator also lists
the few changes to CLDR that real texts ask for, each with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources

_DEFAULT = "default"
_SPACES = {"nbsp": "\u00a0", "nnbsp": "\u202f"}  # names that the table uses for spaces which an editor does not show


@dataclass(frozen=True)
class NumberCustom:
    """How a language writes numbers.

    Attributes:
        decimal: decimal mark beside ASCII digits, "." or ",".
        groups: marks between groups of ASCII digits, the usual one first.
        minus: minus sign, without marks of the direction of writing.
        indian: whether groups have two digits above the thousands, as in 1,05,000.
        digits: the digits 0 to 9 that the language uses by default, if they are not ASCII; empty otherwise.
        native_decimal: decimal mark beside `digits`.
        native_group: group mark beside `digits`.
    """

    decimal: str
    groups: tuple[str, ...]
    minus: str
    indian: bool
    digits: str
    native_decimal: str
    native_group: str

    @cached_property
    def spaces_group(self) -> bool:
        """Whether a space groups digits: 80 000 is one number. Many texts have an ordinary space there."""
        return any(mark.isspace() for mark in self.groups)


@cache
def number_custom(language: str) -> NumberCustom:
    """The custom of a language, by lilift's code; of an unknown language, or without its region, the closest that is known."""
    table = number_customs()
    return table.get(language) or table.get(language.partition("-")[0]) or table[_DEFAULT]


@cache
def number_customs() -> Mapping[str, NumberCustom]:
    """The custom of every language of the table by code."""
    text = (resources.files("lilift.evaluate.answers") / "number_customs.tsv").read_text(encoding="utf-8")
    table = {}
    for line in text.splitlines()[2:]:
        code, _, decimal, groups, minus, indian, digits, native_decimal, native_group = line.split("\t")
        table[code] = NumberCustom(
            decimal=decimal,
            groups=tuple(_SPACES.get(mark, mark) for mark in groups.split(" ")),
            minus=minus,
            indian=indian == "yes",
            digits=digits,
            native_decimal=native_decimal or decimal,
            native_group=native_group or _SPACES.get(groups, groups),
        )
    return table
