"""Reads the sentence patterns of `patterns.txt` into constituents, which can be arranged in any word order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_SLOT = re.compile(r"\{(?:(?P<letter>[a-z]):)?(?P<name>[a-z]+)(?:\.(?P<form>\d))?\}")
_CONSTITUENT = re.compile(r"\[(?P<role>[A-Z]+)(?P<optional>\??) (?P<words>[^\]]+)\](?P<stop>[.,?]?)")

NUMBER_SLOTS = ("a", "b", "c")
NAME_SLOTS = ("n", "m", "k")


@dataclass(frozen=True)
class Slot:
    """A place for a number, a name or a word of a class; slots with the same `key` get the same word."""

    name: str
    key: str
    form: int


@dataclass(frozen=True)
class Constituent:
    """Words that stay together in every word order; an optional constituent is left out of half of the problems."""

    role: str
    parts: tuple[str | Slot, ...]
    optional: bool = False


@dataclass(frozen=True)
class Clause:
    """Constituents up to a punctuation mark or a conjunction; `stop` is the mark, and is empty before a conjunction."""

    constituents: tuple[Constituent, ...]
    stop: str


@dataclass(frozen=True)
class Step:
    """One calculation of a solution. Operands are number slots, or `r`, the result of the step before."""

    left: str
    operator: str
    right: str


@dataclass(frozen=True)
class Pattern:
    """The sentences of one kind of problem, and the steps of its solution."""

    name: str
    held_out: bool
    steps: tuple[Step, ...]
    clauses: tuple[Clause, ...]

    def slots(self) -> list[Slot]:
        """All slots in reading order, one for each key."""
        found: dict[str, Slot] = {}
        for clause in self.clauses:
            for constituent in clause.constituents:
                for part in constituent.parts:
                    if isinstance(part, Slot):
                        found.setdefault(part.key, part)
        return list(found.values())


@cache
def patterns() -> tuple[Pattern, ...]:
    """All patterns that ship with lilift, including the held-out ones."""
    text = files(__package__).joinpath("patterns.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return tuple(parse(head, body) for head, body in zip(lines[::2], lines[1::2], strict=True))


def parse(head: str, body: str) -> Pattern:
    """Read one pattern: its line `name : steps` and its sentences in brackets."""
    name, steps = (part.strip() for part in head.split(" : "))
    clauses: list[Clause] = []
    open_clause: list[Constituent] = []
    for match in _CONSTITUENT.finditer(body):
        if match["role"] == "C" and open_clause:
            clauses.append(Clause(tuple(open_clause), ""))
            open_clause = []
        parts = tuple(_part(word) for word in match["words"].split())
        open_clause.append(Constituent(match["role"], parts, optional=bool(match["optional"])))
        if match["stop"]:
            clauses.append(Clause(tuple(open_clause), match["stop"]))
            open_clause = []
    return Pattern(
        name=name.lstrip("!"),
        held_out=name.startswith("!"),
        steps=tuple(Step(*step.split()) for step in steps.split(";")),
        clauses=tuple(clauses),
    )


def _part(word: str) -> str | Slot:
    slot = _SLOT.fullmatch(word)
    if slot is None:
        return word.replace("_", " ")
    return Slot(slot["name"], f"{slot['letter'] or ''}:{slot['name']}", int(slot["form"] or 1) - 1)
