"""Instructions: layouts are recognised, every row is accounted for, and what cannot be used says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from lilift.data.texts.examples import Example
from lilift.data.texts.instructions import InstructionReport, load_instructions
from lilift.recipe.errors import DataError
from lilift.recipe.schema import InstructionSettings

GSM8K = {
    "question": "Tom has 48 pens and half of them twice. How many?",
    "answer": "Half is 48/2 = <<48/2=24>>24.\nIn all 1,000+24 = <<1000+24=1024>>1,024 pens.\n#### 1,024",
}
CSV = "question,response\nHow many?,Seven.\nHow few?,Three.\n"
FLAT = [{"question": "How many?", "response": "Seven."}, {"question": "How few?", "response": "Three."}]


def load(source: Path | str, **settings: Any) -> tuple[list[Example], InstructionReport]:
    return load_instructions(InstructionSettings(source=str(source), **settings), seed=0)


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "layout", "expected"),
    [
        (
            GSM8K,
            "gsm8k",
            (GSM8K["question"], "Half is 48/2 = 24.\nIn all 1,000+24 = 1,024 pens.\nThe answer is 1,024.", "1,024"),
        ),
        (
            {"query": "2+2?", "response": "Two and two.\nThe answer is: 4", "type": "GSM", "original_question": "?"},
            "metamath",
            ("2+2?", "Two and two.\nThe answer is: 4", "4"),
        ),
        (
            {"instruction": "Add them.", "input": "2 and 2", "output": "4", "answer": 4},
            "alpaca",
            ("Add them.\n\n2 and 2", "4", "4"),
        ),
        ({"instruction": "Add 2 and 2.", "input": "", "output": "4"}, "alpaca", ("Add 2 and 2.", "4", None)),
        (
            {
                "conversations": [
                    {"from": "system", "value": "Be kind."},
                    {"from": "human", "value": "Hi?"},
                    {"from": "gpt", "value": "Hello."},
                ]
            },
            "sharegpt",
            ("Hi?", "Hello.", None),
        ),
        (
            {"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}]},
            "sharegpt",
            ("Hi?", "Hello.", None),
        ),
        ({"prompt": "Hi?", "response": "Hello."}, "prompt/response", ("Hi?", "Hello.", None)),
        ({"prompt": "Hi?", "completion": "Hello."}, "prompt/completion", ("Hi?", "Hello.", None)),
        ({"problem": "Hi?", "solution": "Hello.", "answer": "H"}, "problem/solution", ("Hi?", "Hello.", "H")),
        ({"question": "Hi?", "answer": "Hello."}, "question/answer", ("Hi?", "Hello.", None)),
    ],
)
def test_a_known_layout_is_recognised(tmp_path: Path, row: dict[str, Any], layout: str, expected: tuple[Any, ...]) -> None:
    (example,), report = load(jsonl(tmp_path / "train.jsonl", [row]))
    assert report.layout == layout
    assert report.seen == list(row)
    assert (example.question, example.response, example.answer) == expected
    assert example.id == "train.jsonl:1"


def test_named_columns_are_taken_before_any_layout(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", [{"frage": "Hi?", "antwort": "Hello.", "zahl": 7, "prompt": "no", "response": "no"}])
    (example,), report = load(path, columns={"question": "frage", "response": "antwort", "answer": "zahl"})
    assert (example.question, example.response, example.answer) == ("Hi?", "Hello.", "7")
    assert report.columns == {"question": "frage", "response": "antwort", "answer": "zahl"}


def test_every_row_is_kept_or_counted_with_its_reason(tmp_path: Path) -> None:
    rows = [*FLAT, {"question": " ", "response": "x"}, {"question": "x", "response": None}, FLAT[0]]
    examples, report = load(jsonl(tmp_path / "x.jsonl", rows))
    assert [example.id for example in examples] == ["x.jsonl:1", "x.jsonl:2"]
    assert (report.read, report.kept) == (5, 2)
    assert report.dropped == {"empty question": 1, "empty response": 1, "repeated": 1}


def test_a_limit_counts_usable_rows(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", [{"question": "", "response": "x"}, *FLAT])
    examples, report = load(path, limit=1)
    assert [example.id for example in examples] == ["x.jsonl:2"]
    assert (report.read, report.kept) == (2, 1)


TURNS = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}]
LEGS = [{"from": "human", "value": "Legs?"}, {"from": "gpt", "value": "Four."}]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "system", "content": "Be kind."}, *TURNS, *TURNS]},
        {"messages": json.dumps(TURNS)},
        {"messages": {"role": ["user", "assistant"], "content": ["Hi?", "Hello."]}},
        {"messages": [{"role": turn["role"], "content": [{"type": "text", "text": turn["content"]}]} for turn in TURNS]},
        {"messages": [{"role": "User", "content": "Hi?"}, {"role": "Assistant", "content": "Hello."}], "lang": "en"},
        {"prompt": TURNS[:1], "completion": TURNS[1:]},
        {"prompt": [{"role": "system", "content": "Be kind."}, TURNS[0]], "completion": "Hello."},
        {"prompt": "Hi?", "completion": TURNS[1:]},
        {"prompt": json.dumps(TURNS[:1]), "completion": json.dumps(TURNS[1:])},
        {"prompt": [{"type": "text", "text": "Hi?"}], "response": [{"type": "output_text", "text": "Hello."}]},
        {"question": "Hi?", "solution": "Hello.", "answer": ["a", "b"]},
        {"problem": "Hi?", "generated_solution": "Hello.", "is_correct": True},
        {"question": "Hi?", "generated_solution": "Hello.", "is_correct": "true"},
        {"problem": "Hi?", "answer": "Hello."},
        {"query": "Hi?", "answer": "Hello."},
        {"input": "Hi?", "output": "Hello."},
        {"query": "Hi?", "response": "Hello.", "language": "Python"},
        {"query": "Hi?", "response": "Hello.", "lang": None},
    ],
)
@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
def test_a_layout_that_people_have_gives_its_texts(tmp_path: Path, row: dict[str, Any], name: str) -> None:
    path = tmp_path / name
    parquet.write_table(pa.Table.from_pylist([row]), path) if name == "x.parquet" else jsonl(path, [row])
    (example,), report = load(path)
    assert (example.question, example.response, report.dropped) == ("Hi?", "Hello.", {})


def test_several_parts_of_a_text_stay_apart(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Here is a table."}, {"type": "text", "text": "Add it up."}]
    (example,), _ = load(jsonl(tmp_path / "x.jsonl", [{"question": parts, "response": "3"}]))
    assert example.question == "Here is a table.\nAdd it up."


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"conversations": None}, "no conversation"),
        ({"conversations": []}, "no conversation"),
        ({"other": 1}, "no conversation"),
        ({"conversations": "plain text"}, "no conversation"),
        ({"conversations": [None, *LEGS]}, "a turn is missing"),
        ({"conversations": [*LEGS, None]}, "a turn is missing"),
        ({"conversations": ["Legs?", "Four."]}, "a turn has no role"),
        ({"conversations": [{"value": "Legs?"}, {"value": "Four."}]}, "a turn has no role"),
        ({"conversations": [{"from": None, "value": "Legs?"}, LEGS[1]]}, "a turn has no role"),
        ({"conversations": [7, *LEGS]}, "a turn has no role"),
        ({"conversations": LEGS[:1]}, "no question with an answer after it"),
        ({"conversations": [*LEGS[1:], *LEGS[:1]]}, "no question with an answer after it"),
        ({"conversations": [LEGS[0], {"from": "gpt", "value": None}]}, "empty response"),
        ({"conversations": [LEGS[0], {"from": "gpt", "value": [{"type": "image"}]}]}, "response is not text"),
        ({"conversations": LEGS, "lang": "sw"}, "not English"),
        ({"conversations": LEGS, "lang": "Swahili"}, "not English"),
        ({"conversations": LEGS, "is_correct": False}, "marked as wrong"),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_a_conversation_that_cannot_be_used_is_counted_by_kind(
    tmp_path: Path, bad: dict[str, Any], reason: str, first: bool
) -> None:
    good = {"conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hello."}], "lang": "en"}
    examples, report = load(jsonl(tmp_path / "x.jsonl", [bad, good] if first else [good, bad]))
    assert [(example.question, example.response) for example in examples] == [("Hi?", "Hello.")]
    assert (report.layout, report.read, report.dropped) == ("sharegpt", 2, {reason: 1})


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"response": "x"}, "empty question"),
        ({"query": "x"}, "empty response"),
        ({"query": ["a"], "response": "x"}, "question is not text"),
        ({"query": "x", "response": {"a": 1}}, "response is not text"),
        ({"query": [{"type": "image_url", "image_url": "x"}], "response": "x"}, "question is not text"),
        ({"query": "half \ud83d", "response": "x"}, "question is not Unicode text"),
        ({"query": "x", "response": "y", "lang": "Thai"}, "not English"),
        ({"query": "x", "response": "y", "lang": "zho_Hans"}, "not English"),
        ({"query": "x", "response": "y", "is_correct": "False"}, "marked as wrong"),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_a_row_that_cannot_be_used_is_counted_by_kind(tmp_path: Path, bad: dict[str, Any], reason: str, first: bool) -> None:
    good = {"query": "Hi?", "response": "Hello.", "lang": "English", "is_correct": True}
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ([bad, good] if first else [good, bad])), encoding="utf-8")
    examples, report = load(path)
    assert [(example.question, example.response) for example in examples] == [("Hi?", "Hello.")]
    assert (report.read, report.dropped) == (2, {reason: 1})


def test_two_values_for_a_column_are_a_reason_and_the_same_value_twice_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(
        '{"question": "a", "question": "b", "response": "c"}\n{"question": "d", "response": "e", "response": "e"}\n',
        encoding="utf-8",
    )
    examples, report = load(path)
    assert [example.question for example in examples] == ["d"]
    assert report.dropped == {"two values for question": 1}


def test_columns_that_come_after_many_rows_are_found(tmp_path: Path) -> None:
    rows = [{"id": number, "conversations": None} for number in range(500)]
    examples, report = load(jsonl(tmp_path / "x.jsonl", [*rows, {"id": 500, "conversations": LEGS}]))
    assert [example.id for example in examples] == ["x.jsonl:501"]
    assert (report.read, report.dropped) == (501, {"no conversation": 500})
    path = jsonl(tmp_path / "y.jsonl", [*rows, {"frage": "a", "antwort": "b"}])
    assert len(load(path, columns={"question": "frage", "response": "antwort"})[0]) == 1


def test_only_unusable_rows_are_an_error_that_names_their_kinds(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"conversations": ["Legs?", "Four."]}] * 2 + [{"conversations": None}]
    with pytest.raises(DataError, match=r"none of 3 rows is usable \(a turn has no role 2, no conversation 1\)") as caught:
        load(jsonl(tmp_path / "x.jsonl", rows))
    assert caught.value.exit_code == 3


def test_numbers_without_a_word_are_counted(tmp_path: Path) -> None:
    responses = ["18", "-1,000.", "3/4", "50%", "0.5", "18 apples", "The answer is: 18", "x"]
    rows = [{"question": f"{number}?", "answer": response} for number, response in enumerate(responses)]
    _, report = load(jsonl(tmp_path / "x.jsonl", rows))
    assert (report.kept, report.bare_numbers) == (8, 5)


def test_the_world_is_generated_from_the_seed() -> None:
    examples, report = load("world", limit=50)
    again, _ = load("world", limit=50)
    other, _ = load_instructions(InstructionSettings(source="world", limit=50), seed=1)
    assert examples == again != other
    assert report.read == 50
    assert all(example.answer for example in examples)


def test_all_of_gsm8k_is_read_and_cleaned(shared_data: Path) -> None:
    examples, report = load(shared_data / "gsm8k" / "train.jsonl.gz")
    assert (report.layout, report.read, report.kept) == ("gsm8k", 7473, 7473)
    assert all(example.answer for example in examples)
    assert not any("<<" in example.response or "####" in example.response for example in examples)
    assert all(example.response.endswith(f"The answer is {example.answer}.") for example in examples)
