"""Losses of more than 5% of the rows are said, each with the setting to change; smaller ones are only counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lilift.data.data_report import TokenizerFindings
from lilift.data.losses import warnings_of_lengths, warnings_of_rows
from lilift.data.prepare import gather, prepare
from lilift.recipe.load import load_recipe


def test_a_reason_that_takes_many_rows_is_said_with_what_to_do() -> None:
    dropped = {"empty response": 30, "not English": 10, "repeated": 40, "in mgsm": 6, "question is not text": 5}
    assert warnings_of_rows("a.csv", 100, dropped) == [
        "warning: 30% of the rows of a.csv are left out (empty response); check data.instructions.columns",
        "warning: 10% of the rows of a.csv are left out (not English); "
        "name translated texts with data.translations if training is to read them",
        "warning: 6% of the rows of a.csv are left out (in mgsm); "
        "set data.contaminated to keep if you do not evaluate on it",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("over_length", "key", "fate"),
    [
        ("drop", "dropped_sequence", "left out"),
        ("truncate", "truncated_response", "cut"),
        ("error", "dropped_sequence", "stop"),
    ],
)
def test_rows_that_are_too_long_name_the_setting(over_length: str, key: str, fate: str) -> None:
    lengths = {"read": 100, key: 6, "dropped_source": 5, "longest_sequence": 2000}
    (line,) = warnings_of_lengths("transfer", lengths, (512, 1280), over_length)
    assert line.startswith("warning: 6% of the rows of transfer are too long")
    assert fate in line
    assert "more than 1,280 tokens; set data.max_tokens higher (the longest has 2,000)" in line
    lengths["truncated_source"] = 1
    assert "set encoder.max_tokens higher" in warnings_of_lengths("align", lengths, (512, 1280), over_length)[0]


def test_warnings_are_in_the_lines_and_in_the_report(tmp_path: Path) -> None:
    rows = [
        {"question": f"How many goats are {number}?", "response": str(number) if number % 2 else ""} for number in range(20)
    ]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = load_recipe("tiny-cpu", ["languages=[ln]", f"data.instructions.source={tmp_path / 'x.jsonl'}"])
    report = prepare(
        recipe, tmp_path / "data", examine=lambda data: TokenizerFindings((f"warning: {len(data.examples)} long",))
    )
    lost = f"warning: 50% of the rows of {tmp_path / 'x.jsonl'} are left out (empty response); check data.instructions.columns"
    assert report.lines()[-2:] == [lost, "warning: 10 long"]
    assert "  10 of them have a bare number as response, which teaches no reasoning" in report.lines()
    written = json.loads((tmp_path / "data" / "report.json").read_text(encoding="utf-8"))
    assert written["warnings"] == report.warnings
    assert written["instructions"]["bare_numbers"] == 10
    data, _ = gather(recipe)
    assert data.report["warnings"] == [lost]
