"""The page about real models shows the committed result."""

from __future__ import annotations

import json

from benchmarks.real_models.real_models import PAGE, page_with, summarise
from benchmarks.shared.result_files import FOLDER


def test_the_table_is_that_of_the_result() -> None:
    result = json.loads((FOLDER / "real_models.json").read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    assert page_with(result["table"], text) == text


def test_the_result_follows_from_its_right_and_wrong_answers() -> None:
    result = json.loads((FOLDER / "real_models.json").read_text(encoding="utf-8"))
    assert summarise(result["runs"]) == result["table"]
