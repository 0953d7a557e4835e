"""Columns are recognised as a careful reader would: by any spelling, with their context, and not hidden by an empty list."""

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

ASKED, ANSWERED = {"role": "user", "content": "Legs?"}, {"role": "assistant", "content": "Four."}
API = '[{"role": "user", "content": "Hello"}]'


def load(source: Path | str) -> tuple[list[Example], InstructionReport]:
    return load_instructions(InstructionSettings(source=str(source)), seed=0)


def read(folder: Path, *rows: dict[str, Any]) -> tuple[list[tuple[str, str]], InstructionReport]:
    path = folder / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    examples, report = load(path)
    return [(example.question, example.response) for example in examples], report


@pytest.mark.parametrize(
    ("row", "layout", "expected"),
    [
        ({"Question": "Legs?", "Response": "Four."}, "question/response", ("Legs?", "Four.")),
        ({"Instruction": "Sum up.", "Input": "A text.", "Output": "A."}, "alpaca", ("Sum up.\n\nA text.", "A.")),
        (
            {"instruction": "Sum up.", "context": "A text.", "response": "A."},
            "instruction/response",
            ("Sum up.\n\nA text.", "A."),
        ),
        (
            {"instruction": "Sum up.", "input": "A text.", "response": "A."},
            "instruction/response",
            ("Sum up.\n\nA text.", "A."),
        ),
        ({"instruction": "Legs?", "context": None, "response": "Four."}, "instruction/response", ("Legs?", "Four.")),
        ({"input": "Legs?", "target": "Four."}, "input/target", ("Legs?", "Four.")),
        ({"inputs": "Legs?", "targets": "Four."}, "inputs/targets", ("Legs?", "Four.")),
        ({"prompt": "Legs?", "chosen": "Four.", "rejected": "Two."}, "prompt/chosen", ("Legs?", "Four.")),
        ({"prompt": [ASKED], "chosen": [ANSWERED], "rejected": [ANSWERED]}, "prompt/chosen", ("Legs?", "Four.")),
        ({"prompt": "Legs?", "chosen": [ASKED, ANSWERED]}, "prompt/chosen", ("Legs?", "Four.")),
        ({"chosen": [ASKED, ANSWERED], "rejected": [ASKED]}, "sharegpt", ("Legs?", "Four.")),
        ({"messages": [], "prompt": "Legs?", "response": "Four."}, "prompt/response", ("Legs?", "Four.")),
        ({"messages": [ASKED, ANSWERED], "prompt": "Legs?", "response": "4"}, "sharegpt", ("Legs?", "Four.")),
        ({"prompt": [ASKED], "completion": API}, "prompt/completion", ("Legs?", API)),
        ({"prompt": "Write a request.", "completion": API}, "prompt/completion", ("Write a request.", API)),
        ({"prompt": json.dumps([ASKED]), "completion": json.dumps([ANSWERED])}, "prompt/completion", ("Legs?", "Four.")),
    ],
)
def test_a_layout_is_recognised_with_all_of_its_texts(
    tmp_path: Path, row: dict[str, Any], layout: str, expected: tuple[str, str]
) -> None:
    found, report = read(tmp_path, row)
    assert (found, report.layout) == ([expected], layout)


@pytest.mark.parametrize("odd", [{"messages": [ASKED, ANSWERED]}, {"query": "Legs?", "response": "Four."}, {"query": "Legs?"}])
@pytest.mark.parametrize("place", [0, 15, 30])
def test_one_odd_row_does_not_decide_for_all(tmp_path: Path, odd: dict[str, Any], place: int) -> None:
    rows: list[dict[str, Any]] = [{"question": f"Legs {number}?", "response": "Four."} for number in range(30)]
    found, report = read(tmp_path, *rows[:place], odd, *rows[place:])
    assert (report.layout, len(found), sum(report.dropped.values())) == ("question/response", 30, 1)


@pytest.mark.parametrize(
    ("asker", "answerer"),
    [("Human", "Assistant"), ("human", "gpt"), ("prompter", "assistant"), ("user", "bot"), ("user", "ai"), ("User", "MODEL")],
)
@pytest.mark.parametrize(("role", "text"), [("from", "value"), ("role", "content"), ("role", "text")])
def test_a_conversation_is_read_whatever_its_keys_and_roles(
    tmp_path: Path, asker: str, answerer: str, role: str, text: str
) -> None:
    turns = [{role: "system", text: "Be brief."}, {role: asker, text: "Legs?"}, {role: answerer, text: "Four."}]
    assert read(tmp_path, {"conversations": turns})[0] == [("Legs?", "Four.")]
    alone = tmp_path / "alone.json"
    alone.write_text(json.dumps({"conversations": turns}, indent=1), encoding="utf-8")
    assert load(alone)[0][0].response == "Four."


@pytest.mark.parametrize("value", [False, "false", "False", 0, "0", 0.0, "no", "f", "N"])
def test_a_response_that_is_marked_as_wrong_is_left_out(tmp_path: Path, value: Any) -> None:
    right = {"problem": "Legs?", "generated_solution": "Four.", "is_correct": True}
    found, report = read(tmp_path, right, {**right, "generated_solution": "Five.", "is_correct": value})
    assert (found, report.dropped) == ([("Legs?", "Four.")], {"marked as wrong": 1})


def test_bytes_are_texts_in_every_column_of_a_parquet_file(tmp_path: Path) -> None:
    turns = [{"from": b"human", "value": b"Legs?"}, {"from": b"gpt", "value": "Vier\u00e9.".encode()}]
    marks = {"is_correct": pa.array([b"true", b"false", b"true"]), "lang": pa.array([b"en", b"en", b"sw"])}
    parquet.write_table(pa.table({"conversations": pa.array([turns] * 3), **marks}), tmp_path / "x.parquet")
    examples, report = load(tmp_path / "x.parquet")
    assert [(one.question, one.response) for one in examples] == [("Legs?", "Vieré.")]
    assert report.dropped == {"marked as wrong": 1, "not English": 1}


@pytest.mark.parametrize("source", ["rows.jsonl", "my/own/rows.csv", "rows.json.gz"])
def test_a_missing_file_needs_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=f"no file or folder of that name in {tmp_path}; check data.instructions.source$"):
        load(source)
