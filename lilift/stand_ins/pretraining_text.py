"""Generates the English text on which the stand-in LLM is pretrained, from the task world and without foreign words.

A downloaded LLM already solves English word problems in every phrasing, knows its arithmetic tables, repeats a text, and
understands clumsy English. The stand-in needs the same skills, because stage 2 could transfer nothing without them. It sees
- problems and their worked solutions, in *all* sentence patterns (in English, including those of the test), but never a problem
  whose steps use a held-out pair of numbers;
- lists of bare sums of all numbers, including held-out pairs: the tables;
- problems to repeat after `English:`;
- and a share of both kinds of problems in clumsy English: with moved constituents, and without articles and help words.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from lilift.data.world.patterns import patterns
from lilift.data.world.problems import LARGEST, Calculation, Problem, calculate, draw, worked_solution
from lilift.data.world.world_languages import FilledClause, FilledConstituent, realise
from lilift.recipe.schema import Target


@dataclass(frozen=True)
class Passage:
    """A pretraining text: `question`, then the template's opener for `kind`, then `response`."""

    question: str
    response: str
    kind: Target = "respond"


def passage(rng: random.Random, *, solve: float, repeat: float, clumsy: float) -> Passage:
    """Draw a passage: a solved problem, a repeated one or, for the rest, a list of sums.

    Args:
        solve: share of solved problems.
        repeat: share of repeated ones.
        clumsy: share of clumsy English among the questions of both.
    """
    choice = rng.random()
    if choice >= solve + repeat:
        sums = [sum_of(rng) for _ in range(4)]
        return Passage(", ".join(f"{left} {operator} {right}" for left, operator, right, _ in sums), worked_solution(sums))
    problem = draw(rng, patterns(), held_out_numbers=False)
    question = clumsy_question(rng, problem) if rng.random() < clumsy else problem.question()
    if choice < solve:
        return Passage(question, problem.response())
    return Passage(question, problem.question(), "reconstruct")


def sum_of(rng: random.Random) -> Calculation:
    """Draw one calculation from the tables. Sums and differences are drawn more often, because there are many more of them."""
    operator = rng.choice("++--*/")
    while True:
        calculation = calculate(rng.randint(2, LARGEST), operator, rng.randint(2, LARGEST))
        if calculation is not None:
            return calculation


def clumsy_question(rng: random.Random, problem: Problem) -> str:
    """The English question in the words of somebody who thinks in another word order."""
    return realise([_clumsy(rng, clause) for clause in problem.clauses], "en")


def _clumsy(rng: random.Random, clause: FilledClause) -> FilledClause:
    conjunctions = [constituent for constituent in clause.constituents if constituent.role == "C"]
    others = [constituent for constituent in clause.constituents if constituent.role not in "CX"]
    rng.shuffle(others)
    return replace(clause, constituents=(*conjunctions, *(_telegraphic(rng, constituent) for constituent in others)))


def _telegraphic(rng: random.Random, constituent: FilledConstituent) -> FilledConstituent:
    words = [word for word in constituent.words if word != "the"]
    if rng.random() < 0.5:
        rng.shuffle(words)
    return replace(constituent, words=tuple(words))
