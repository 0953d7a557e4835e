"""The comparison of an export with its run: which texts it takes, and that it fails nothing that is already written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lilift.data.batches.tokenization import Limits, Tokenisation
from lilift.data.texts.prompt_templates import TEMPLATES
from lilift.export.drift import Drift
from lilift.model.alignment_layer import sequence_shape
from lilift.phases import export_check
from lilift.phases.export_check import DriftReport, drift_of_export, rows_to_measure
from lilift.phases.report.export_section import export_section
from lilift.phases.report.page import render
from lilift.phases.report.report_files import RunFiles
from lilift.recipe.errors import DataError
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import OverLength
from lilift.recipe.storage import JsonLines, write_json

RECIPE = load_recipe("tiny-cpu")


class Letters:
    """A tokenizer with one token for each letter."""

    unknown_id, eos_token_id = None, 1

    def encode(self, text: str, max_tokens: int | None = None) -> list[int]:
        return [ord(letter) for letter in text][:max_tokens]

    def __call__(self, texts: Sequence[str], **_: Any) -> Any:
        return {"input_ids": [self.encode(text) for text in texts]}

    def get_added_vocab(self) -> dict[str, int]:
        return {}


def tokenisation(policy: OverLength) -> Tokenisation:
    letters: Any = Letters()
    limits = Limits(64, 128, policy)
    return Tokenisation(letters, letters, TEMPLATES["plain"], "soft", sequence_shape(RECIPE.alignment), True, limits)


def run_with(folder: Path, answers: Sequence[str], question: str = "How many?") -> Path:
    lines = [{"id": f"q{index}", "question": question, "response": answer} for index, answer in enumerate(answers)]
    JsonLines(folder / "evaluate" / "lifted" / "world" / "om.jsonl").rewrite(lines)
    return folder


@pytest.fixture
def training_texts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    texts = [SimpleNamespace(id="t0", question="Two and two?", response="4")]
    monkeypatch.setattr(export_check, "load_prepared", lambda _: SimpleNamespace(examples=texts))
    return texts


@pytest.mark.parametrize("policy", ["drop", "truncate", "error"])
def test_blank_answers_and_those_that_do_not_fit_are_left_out(
    policy: OverLength, tmp_path: Path, training_texts: list[Any]
) -> None:
    long = "It is seven. " * 40
    what, rows = rows_to_measure(run_with(tmp_path / "some", ["", " \n", "7", long]), tokenisation(policy))
    assert what == "the run's own answers to held-out questions"
    assert len(rows) == (2 if policy == "truncate" else 1)
    what, rows = rows_to_measure(run_with(tmp_path / "none", ["", "\t"]), tokenisation(policy))
    assert (what, len(rows)) == ("training data, because this run has no usable answers to held-out questions", 1)
    what, rows = rows_to_measure(tmp_path / "nothing", tokenisation(policy))
    assert (what, len(rows)) == ("training data, because this run has answered no held-out questions", 1)
    training_texts[0].question = "Two and two? " * 40
    if policy != "truncate":
        with pytest.raises(DataError, match="blank, or longer than"):
            rows_to_measure(run_with(tmp_path / "long", [long], question="How many? " * 40), tokenisation(policy))


def test_answers_are_spread_over_all_of_them(tmp_path: Path) -> None:
    run = run_with(tmp_path, [str(index) for index in range(70)])
    _, rows = rows_to_measure(run, tokenisation("drop"))
    assert [row.response_ids for row in rows[:3]] == [(*map(ord, text), 1) for text in (" 0", " 2", " 4")]
    assert len(rows) == export_check.TEXTS
    blanks = run_with(tmp_path, ["" if index % 3 else str(index) for index in range(99)])
    assert len(rows_to_measure(blanks, tokenisation("drop"))[1]) == export_check.TEXTS


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (DataError("no text can be used", where="run"), "run: no text can be used"),
        (MemoryError(), "does not fit into the free memory"),
        (ValueError("a batch needs at least one row"), "a bug in lilift: ValueError: a batch needs at least one row"),
    ],
)
def test_a_comparison_that_fails_is_reported_and_raises_nothing(
    failure: Exception, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise failure

    monkeypatch.setattr(export_check, "_measured", fails)
    found = drift_of_export(RECIPE, RECIPE.export, tmp_path, tmp_path, device=torch.device("cpu"), note=print)
    assert found.not_measured is not None
    assert reason in found.not_measured
    assert found.lines() == [
        f"the export is complete, but lilift could not compare it with the model of the run: {found.not_measured}"
    ]
    assert shown(tmp_path, found).count(failure.args[0] if failure.args else reason) == 1


def test_the_report_shows_the_drift(tmp_path: Path) -> None:
    found = DriftReport("answers", (Drift("llm-q8_0.gguf", 1.25, 1.24, 0.002, 0.97, 310),))
    assert all(text in shown(tmp_path, found) for text in ("measured on answers", "llm-q8_0.gguf", "1.25", "97%", "310"))
    assert export_section(RunFiles(tmp_path / "elsewhere")) is None


def shown(run: Path, found: DriftReport) -> str:
    """The export section of a report, as HTML without its marks."""
    from lilift.phases.report.page import _contents

    write_json(run / "export" / "drift.json", found.as_dict())
    page = render("report.html.j2", _contents(run))
    return page[page.index('id="export"') :].split("</section>")[0].replace("&#39;", "'")
