"""Rows that a benchmark has too: found whatever their case and punctuation, counted, and left out unless asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilift.data.texts.contamination import RUN, HeldOut, Overlap
from lilift.data.texts.instructions import load_instructions
from lilift.phases.held_out import held_out_questions
from lilift.recipe.errors import DataError
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import InstructionSettings

QUESTION = "Juma has 1,050 mangoes. He gives away 3.5 kg of them to each of his 12 friends; how many does he have now?"
words = st.lists(st.sampled_from(["ab", "cd", "ef", "gh", "ij", "kl", "mn", "op"]), min_size=RUN, max_size=40)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (QUESTION, "same text"),
        (QUESTION.upper().replace(",", " , ").replace("?", " ?!"), "same text"),
        ("\u00a0" + QUESTION.replace("Juma", "Ｊｕｍａ"), "same text"),
        ("Solve this: he gives away 3.5 kg of them to each of his 12 friends!", "13 words in a row"),
        ("Solve this: he gives away 3.5 kg of them to each of his friends!", None),
        ("Juma has mangoes.", None),
        ("", None),
    ],
)
def test_overlap_is_of_words_alone(text: str, match: str | None) -> None:
    found = HeldOut({"mgsm": ["Another one.", QUESTION]}).find(text)
    assert found == (Overlap("mgsm", match) if match else None)  # type: ignore[arg-type]


@settings(max_examples=40)
@given(words, words, st.integers(0, 30))
def test_a_run_is_found_exactly_where_there_is_one(held_out: list[str], text: list[str], cut: int) -> None:
    text = [*text[:cut], *held_out[: RUN + cut % 5], *text[cut:]] if cut % 2 else text
    runs = {tuple(held_out[start : start + RUN]) for start in range(len(held_out) - RUN + 1)}
    shared = any(tuple(text[start : start + RUN]) in runs for start in range(len(text) - RUN + 1))
    assert (HeldOut({"b": [" ".join(held_out)]}).find(" ".join(text)) is not None) == shared


def _rows(path: Path) -> Path:
    rows = [
        {"question": QUESTION, "response": "a"},
        {"question": "How many?", "response": "b"},
        {"question": "How many?", "response": "c"},
        {"question": "How many?", "response": "b"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_rows_of_a_benchmark_are_left_out_and_counted_and_make_room_for_others(tmp_path: Path) -> None:
    wanted = InstructionSettings(source=str(_rows(tmp_path / "rows.jsonl")), limit=2)
    held_out = HeldOut({"mgsm": [QUESTION]}, {"xnli": "no file"})
    examples, report = load_instructions(wanted, 0, held_out=held_out)
    assert [example.response for example in examples] == ["b", "c"]
    assert report.dropped == {"in mgsm": 1}
    assert report.contaminated == {"mgsm": {"same text": 1}}
    assert (report.benchmarks, report.unchecked, report.same_question) == ({"mgsm": 1}, {"xnli": "no file"}, 1)


def test_rows_of_a_benchmark_are_kept_and_counted_where_asked_for(tmp_path: Path) -> None:
    wanted = InstructionSettings(source=str(_rows(tmp_path / "rows.jsonl")))
    held_out = HeldOut({"mgsm": [QUESTION]})
    examples, report = load_instructions(wanted, 0, held_out=held_out, drop_contaminated=False)
    assert [example.response for example in examples] == ["a", "b", "c"]
    assert report.contaminated == {"mgsm": {"same text": 1}}
    assert report.dropped == {"repeated": 1}


def _mgsm(folder: Path, language: str = "en") -> str:
    others = [f"How many {number}?" for number in range(248)]
    lines = "".join(f"{question}\t3\n" for question in (QUESTION, "How many?", *others))
    (folder / f"mgsm_{language}.tsv").write_text(lines, encoding="utf-8")
    return f"[{{name: mgsm, path: {folder}, limit: 1}}]"


def test_the_recipes_benchmarks_are_held_out_whole(tmp_path: Path) -> None:
    benchmarks = _mgsm(tmp_path)
    for setting in ("data.held_out", "evaluate.benchmarks"):
        found = held_out_questions(load_recipe("tiny-cpu", [f"{setting}={benchmarks}"]))
        assert found.sizes == {"mgsm": 250}
        assert found.find("how many") == Overlap("mgsm", "same text")
    assert held_out_questions(load_recipe("tiny-cpu")).sizes == {}


def test_a_benchmark_without_english_is_named_as_not_compared(tmp_path: Path) -> None:
    benchmarks = _mgsm(tmp_path, "sw")
    found = held_out_questions(load_recipe("tiny-cpu", [f"evaluate.benchmarks={benchmarks}"]))
    assert found.sizes == {}
    assert "mgsm has no questions in 'en'" in found.unchecked["mgsm"]
    with pytest.raises(DataError, match="no questions in 'en'"):
        held_out_questions(load_recipe("tiny-cpu", [f"data.held_out={benchmarks}"]))


def test_every_question_of_mgsm_is_found_in_gsm8ks_test_rows(shared_data: Path) -> None:
    held_out = held_out_questions(load_recipe("tiny-cpu", [f"data.held_out=[{{name: mgsm, path: {shared_data / 'mgsm'}}}]"]))
    wanted = InstructionSettings(source=str(shared_data / "gsm8k" / "test.jsonl.gz"))
    _, report = load_instructions(wanted, 0, held_out=held_out)
    assert report.contaminated == {"mgsm": {"same text": 250}}
    assert report.kept == report.read - 250
