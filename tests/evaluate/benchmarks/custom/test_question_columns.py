"""Which column is recognised as what, and what the user is told where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lilift.evaluate.benchmarks.custom.question_columns import QuestionColumns, find_question_columns
from lilift.recipe.errors import DataError
from lilift.recipe.schema import QuestionColumnSettings


def find(names: str, **wanted: object) -> QuestionColumns:
    settings = QuestionColumnSettings.model_validate(wanted) if wanted else None
    return find_question_columns(names.split(","), settings, Path("my.csv"))


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ("ID,Lang,Question,Answer", QuestionColumns("Question", "Answer", "ID", "Lang")),
        ("query,m_query,response", QuestionColumns("m_query", "response")),
        ("question,answer,answer_number,equation_solution", QuestionColumns("question", "answer_number")),
        ("qid,prompt,gold label,note", QuestionColumns("prompt", "gold label", "qid")),
        ("text,category,index_id", QuestionColumns("text", "category")),
        ("question,A,B,C,D,answer", QuestionColumns("question", "answer", choices=("A", "B", "C", "D"))),
        ("question,opa,opb,opc,cop,answer", QuestionColumns("question", "answer", choices=("opa", "opb", "opc"))),
        (
            "flores_passage,question,mc_answer1,mc_answer2,mc_answer3,correct_answer_num",
            QuestionColumns(
                "question",
                "correct_answer_num",
                context="flores_passage",
                choices=("mc_answer1", "mc_answer2", "mc_answer3"),
            ),
        ),
        ("question,Option A,Option B,label", QuestionColumns("question", "label", choices=("Option A", "Option B"))),
        ("problem,choices,answer", QuestionColumns("problem", "answer", choices=("choices",))),
        (
            "question_en,question (Swahili),Problem-yo,answer",
            QuestionColumns("", "answer", by_language={"en": "question_en", "sw": "question (Swahili)", "yo": "Problem-yo"}),
        ),
    ],
)
def test_common_names_are_recognised(names: str, found: QuestionColumns) -> None:
    assert find(names) == found


def test_columns_that_the_user_names_come_first() -> None:
    found = find("question,swali,jibu,a1,b1,answer", question="swali", answer="jibu", choices=["a1", "b1"])
    assert found == QuestionColumns("swali", "jibu", choices=("a1", "b1"))
    assert found.describe() == "question: column `swali`; answer: column `jibu`; choices: columns `a1`, `b1`"
    assert find("question,answer,list", choices="list").choices == ("list",)


@pytest.mark.parametrize(
    ("names", "wanted", "message"),
    [
        ("swali,answer", {}, "which column holds the questions: the columns are swali, answer; .*--columns question="),
        ("question,jibu", {}, "which column holds the right answers: .*columns: {answer: …}"),
        ("question,answer", {"question": "questoin"}, r"no column 'questoin' \(did you mean 'question'\?\); choose from"),
        ("question,answer", {"question": "answer", "answer": "answer"}, "'answer' has two roles"),
    ],
)
def test_a_column_that_is_not_found_is_one_line(names: str, wanted: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=f"my.csv: .*{message}"):
        find(names, **wanted)
