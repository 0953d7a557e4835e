"""Files as in public bug reports of other projects, in our own words: whoever reads them right loses and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lilift.cli import app

RECIPE = "extends: tiny-cpu\nname: mine\nlanguages: [ln]\ndata:\n  instructions:\n    source: ./{}\n  lexicons: world\n"


def responses_of(folder: Path, name: str, content: str) -> tuple[list[str], int]:
    """The targets that `lilift data switch` writes for a file, and its exit code."""
    (folder / name).write_text(content, encoding="utf-8")
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(name), encoding="utf-8")
    output = folder / "out.jsonl"
    options = ["--set", "align.target=respond"]
    code = app.main(["data", "switch", str(recipe), *options, "--output", str(output)])
    lines = output.read_text(encoding="utf-8").splitlines() if output.exists() else []
    return [json.loads(line)["target"] for line in lines], code


DAYS, LEGS = "How many days has a week?", "How many legs has a goat?"


def table(*responses: str, answers: str = "response") -> str:
    rows = (f"{LEGS[:-1]} or {number}?,{response}\n" for number, response in enumerate(responses))
    return f"question,{answers}\n" + "".join(rows)


def lines(*responses: str) -> str:
    rows = (f'{{"question": "{LEGS[:-1]} or {number}?", "response": {text}}}\n' for number, text in enumerate(responses))
    return "".join(rows)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("words.csv", table("None", "N/A", "null", "NA", "nan", "4 apples"), ["None", "N/A", "null", "NA", "nan", "4 apples"]),
        ("gap.csv", table("4", "2", "", "7", answers="answer"), ["4", "2", "7"]),
        ("zeros.csv", table("007", "2.00", "0.750"), ["007", "2.00", "0.750"]),
        ("bools.csv", table("true", "false"), ["true", "false"]),
        ("large.jsonl", lines("100000000000000000000", "2"), ["100000000000000000000", "2"]),
        ("mixed.jsonl", lines("4", "1.50", '"007"', '"null"'), ["4", "1.50", "007", "null"]),
        ("bools.jsonl", lines("true", "false"), ["true", "false"]),
        (
            "turn.jsonl",
            f'{{"conversations": [{{"from": "human", "value": "{DAYS}"}}, {{"from": "gpt", "value": "Seven."}}]}}\n'
            f'{{"conversations": [null, {{"from": "human", "value": "{LEGS}"}}, {{"from": "gpt", "value": "Four."}}]}}\n',
            ["Seven."],
        ),
        (
            "first.jsonl",
            '{"messages": null}\n'
            f'{{"messages": [{{"role": "user", "content": "{DAYS}"}}, {{"role": "assistant", "content": "Seven."}}]}}\n',
            ["Seven."],
        ),
    ],
)
def test_every_text_comes_out_as_it_went_in(tmp_path: Path, name: str, content: str, expected: list[str]) -> None:
    found, code = responses_of(tmp_path, name, content)
    assert (found, code) == (expected, 0)


def test_turns_that_are_plain_texts_are_counted_and_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, code = responses_of(tmp_path, "turns.jsonl", '{"conversations": ["Legs?", "Four."]}\n')
    assert (found, code) == ([], 3)
    assert "none of 1 rows is usable (a turn has no role 1)" in capsys.readouterr().err
