"""Generates word problems from the patterns, solves them, and writes them in any language of the world.

A problem is *held out* if `patterns.txt` marks its sentence pattern as held out, or if one of its steps uses a held-out pair of
numbers (`held_out_pair`, about one pair in five). Training problems have neither a held-out pattern nor held-out numbers. Test
problems have both: a held-out pattern, and a held-out pair of numbers in every step. Every word of a test question occurs in
some training pattern.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from lilift.data.texts.examples import Example
from lilift.data.world.patterns import NAME_SLOTS, NUMBER_SLOTS, Constituent, Pattern, Slot, Step, patterns
from lilift.data.world.world_languages import FilledClause, FilledConstituent, realise
from lilift.data.world.world_vocabulary import vocabulary

LARGEST = 60
"""The largest number in any question, calculation or answer."""

SMALL = 10
"""At least one number of every sum, difference, product or quotient is at most this, so that a small LLM can learn them."""

_EQUATION = re.compile(r"(\d+) [-+*/] (\d+) = \d+")
Calculation = tuple[int, str, int, int]
"""left, operator, right, result"""


@dataclass(frozen=True)
class Problem:
    """One problem, before it is written in a language."""

    pattern: Pattern
    clauses: tuple[FilledClause, ...]
    calculations: tuple[Calculation, ...]

    @property
    def answer(self) -> int:
        return self.calculations[-1][3]

    @property
    def held_out(self) -> bool:
        """Whether the problem may only be used for tests."""
        return self.pattern.held_out or any(held_out_pair(left, right) for left, _, right, _ in self.calculations)

    def question(self, language: str = "en") -> str:
        """The problem as text."""
        return realise(self.clauses, language)

    def response(self) -> str:
        """The worked solution, in the style of an English instruction dataset."""
        return worked_solution(self.calculations)


def worked_solution(calculations: Sequence[Calculation]) -> str:
    """The steps as equations, and the answer in a last sentence."""
    steps = " ".join(f"{left} {operator} {right} = {result}." for left, operator, right, result in calculations)
    return f"{steps} The answer is {calculations[-1][3]}."


def held_out_pair(left: int, right: int) -> bool:
    """Whether calculations with these two numbers, in either order, may only occur in tests."""
    low, high = sorted((left, right))
    return zlib.crc32(f"{low} and {high}".encode()) % 5 == 0


def is_held_out(example: Example) -> bool:
    """Whether an example of the world is held out, judged by its id (the pattern) and its worked solution (the numbers)."""
    name = example.id.split("/")[0]
    if any(pattern.held_out for pattern in patterns() if pattern.name == name):
        return True
    return any(held_out_pair(int(left), int(right)) for left, right in _EQUATION.findall(example.response))


def training_problems(count: int, seed: int) -> list[Example]:
    """English problems with worked solutions for both stages; none of them is held out."""
    rng = random.Random(f"train {seed}")
    chosen = [pattern for pattern in patterns() if not pattern.held_out]
    return [_example(draw(rng, chosen, held_out_numbers=False), index, "en") for index in range(count)]


def test_problems(language: str, count: int, seed: int) -> list[Example]:
    """Held-out problems in `language`; every language has the same problems, in the same order, with the same ids."""
    rng = random.Random(f"test {seed}")
    chosen = [pattern for pattern in patterns() if pattern.held_out]
    return [_example(draw(rng, chosen, held_out_numbers=True), index, language) for index in range(count)]


def monolingual_text(language: str, count: int, seed: int) -> list[str]:
    """Texts in one language only, from training patterns and numbers. Every language has other problems."""
    rng = random.Random(f"text {language} {seed}")
    chosen = [pattern for pattern in patterns() if not pattern.held_out]
    return [draw(rng, chosen, held_out_numbers=False).question(language) for _ in range(count)]


def draw(rng: random.Random, chosen: Sequence[Pattern], *, held_out_numbers: bool) -> Problem:
    """Draw a problem from the chosen patterns; either all of its pairs of numbers are held out, or none."""
    pattern = rng.choice(chosen)
    numbers, calculations = _draw_numbers(rng, pattern.steps, held_out=held_out_numbers)
    filling = _draw_words(rng, pattern) | {f":{slot}": (str(number),) for slot, number in numbers.items()}
    clauses = tuple(
        FilledClause(
            tuple(
                _fill(constituent, filling)
                for constituent in clause.constituents
                if not constituent.optional or rng.random() < 0.5
            ),
            clause.stop,
        )
        for clause in pattern.clauses
    )
    return Problem(pattern, clauses, calculations)


def _example(problem: Problem, index: int, language: str) -> Example:
    return Example(
        id=f"{problem.pattern.name}/{index}",
        question=problem.question(language),
        response=problem.response(),
        answer=str(problem.answer),
    )


def _fill(constituent: Constituent, filling: dict[str, tuple[str, ...]]) -> FilledConstituent:
    words = tuple(filling[part.key][part.form] if isinstance(part, Slot) else part for part in constituent.parts)
    return FilledConstituent(constituent.role, words)


def _draw_words(rng: random.Random, pattern: Pattern) -> dict[str, tuple[str, ...]]:
    """A name or a word for every slot that is not a number; no word occurs twice in a problem."""
    words = vocabulary()
    filling: dict[str, tuple[str, ...]] = {}
    used: set[str] = set()
    for slot in pattern.slots():
        if slot.name in NUMBER_SLOTS:
            continue
        choices = [(name,) for name in words.names] if slot.name in NAME_SLOTS else words.classes[slot.name]
        word = rng.choice(choices)
        while word[0] in used:
            word = rng.choice(choices)
        used.add(word[0])
        filling[slot.key] = word
    return filling


def _draw_numbers(
    rng: random.Random, steps: Sequence[Step], *, held_out: bool
) -> tuple[dict[str, int], tuple[Calculation, ...]]:
    """Numbers whose calculations are all allowed; drawn again until all their pairs are held out, or none is."""
    largest = {operand: LARGEST for step in steps for operand in (step.left, step.right) if operand != "r"}
    largest |= {operand: SMALL for step in steps for operand in _factors(step)}
    while True:
        numbers = {slot: rng.randint(2, largest[slot]) for slot in sorted(largest)}
        calculations = _solve(numbers, steps)
        if calculations and all(held_out_pair(left, right) == held_out for left, _, right, _ in calculations):
            return numbers, calculations


def _factors(step: Step) -> list[str]:
    """The operands that must be small."""
    operands = {"*": [step.left, step.right], "/": [step.right]}.get(step.operator, [])
    return [operand for operand in operands if operand != "r"]


def _solve(numbers: dict[str, int], steps: Sequence[Step]) -> tuple[Calculation, ...]:
    """The calculations, or an empty tuple if one of them is not allowed."""
    known = dict(numbers)
    solved: list[Calculation] = []
    for step in steps:
        calculation = calculate(known[step.left], step.operator, known[step.right])
        if calculation is None:
            return ()
        known["r"] = calculation[3]
        solved.append(calculation)
    return tuple(solved)


def calculate(left: int, operator: str, right: int) -> Calculation | None:
    """The calculation, or None if its result is not whole, is not between 2 and `LARGEST`, or has no small number (`SMALL`)."""
    if operator == "/" and left % right:
        return None
    result = {"+": left + right, "-": left - right, "*": left * right, "/": left // right}[operator]
    parts = {"+": [[left, right]], "-": [[right, result]], "*": [[left], [right]], "/": [[right], [result]]}[operator]
    if not 2 <= result <= LARGEST or any(min(part) > SMALL for part in parts):
        return None
    return left, operator, right, result
