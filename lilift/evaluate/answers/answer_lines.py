"""The lines of a file of generations: for each question its responses, the extracted answer, and whether it is right.

lilift keeps the responses but never trusts a stored judgement: it judges the responses again whenever it reads a line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lilift.evaluate.answers.judging import judge
from lilift.evaluate.answers.number_formats import plain_number
from lilift.evaluate.answers.voting import voted
from lilift.evaluate.benchmarks.benchmark import Benchmark, Question
from lilift.evaluate.described_questions import BESIDE_RESPONSES, KEPT_BESIDE
from lilift.evaluate.response_stream import Response
from lilift.recipe.errors import RunFolderError
from lilift.recipe.storage import JsonLines


def _answer(question: Question, benchmark: Benchmark, response: str, *, cut: bool) -> dict[str, Any]:
    """One line of a file of generations."""
    judged = judge(question, response, benchmark)
    return {
        "id": question.id,
        "question": question.text,
        "gold": question.gold if isinstance(question.gold, str) else plain_number(question.gold),
        "response": response,
        "extracted": judged.extracted,
        "correct": judged.correct,
        "published": judged.published,
        "cut": cut,
    }


def line_of(question: Question, benchmark: Benchmark, responses: Sequence[Response], *, cut: bool) -> dict[str, Any]:
    """One line of a file of generations, made from all the responses to a question."""
    answers = [_answer(question, benchmark, response.text, cut=cut) for response in responses]
    place = voted([answer["extracted"] for answer in answers])
    line = answers[place]
    if responses[place].tokens is not None:
        line |= {"tokens": responses[place].tokens, "ended": responses[place].ended}
    line |= responses[place].beside
    if len(responses) > 1:
        line |= {"responses": [one.text for one in responses], "passed": [answer["correct"] for answer in answers]}
    return line


def kept_answers(file: JsonLines, benchmark: Benchmark) -> dict[str, dict[str, Any]]:
    """Read the stored answers to the questions of a benchmark, by id, and judge them again.

    Raises:
        RunFolderError: an answer belongs to another question.
    """
    questions = {question.id: question for question in benchmark.questions}
    answers: dict[str, dict[str, Any]] = {}
    kept = file.read()
    for line in kept:
        question = questions.get(str(line.get("id")))
        if question is None or question.id in answers:
            continue
        if line.get("question") != question.text or not isinstance(line.get("response"), str):
            raise RunFolderError(
                f"the file holds an answer to another question with the id {question.id!r}",
                where=file.path,
                remedy="delete the line of this question, or choose another folder for this evaluation",
            )
        answers[question.id] = _judged_anew(line, question, benchmark)
    judged = [answers.get(str(line.get("id")), line) for line in kept]
    if judged != kept:
        file.rewrite(judged)
    return answers


def _judged_anew(line: Mapping[str, Any], question: Question, benchmark: Benchmark) -> dict[str, Any]:
    """A stored line with the judgement of today's code."""
    drawn = line.get("responses")
    texts = [str(text) for text in drawn] if isinstance(drawn, list) and drawn else [line["response"]]
    judged = line_of(question, benchmark, [Response(0, text) for text in texts], cut=bool(line.get("cut")))
    same = judged["response"] == line["response"]
    known = {name: line[name] for name in ("tokens", "ended", *BESIDE_RESPONSES) if same and name in line}
    known |= {name: line[name] for name in KEPT_BESIDE if name in line}
    several = {name: judged.pop(name) for name in ("responses", "passed") if name in judged}
    return judged | known | several
