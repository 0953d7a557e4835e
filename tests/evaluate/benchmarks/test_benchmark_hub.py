"""Benchmarks from the Hugging Face hub, and what lilift says without it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from lilift.evaluate.benchmarks import benchmark_hub
from lilift.evaluate.benchmarks.benchmark import load_benchmark
from lilift.evaluate.benchmarks.benchmark_sources import SOURCES
from lilift.recipe.errors import DataError, EnvironmentUnfit
from lilift.recipe.schema import BenchmarkSettings

BELEBELE = {
    "link": "https://example.org/a",
    "question_number": 1,
    "flores_passage": "p",
    "question": "q",
    **{f"mc_answer{number}": f"c{number}" for number in range(1, 5)},
    "correct_answer_num": "3",
    "dialect": "swh_Latn",
    "ds": "2023-05-09",
}
HUB_ROWS: dict[str, tuple[str, dict[str, object], object]] = {
    "mgsm": ("sw/test", {"question": "Ngapi?", "answer": None, "answer_number": 4, "equation_solution": None}, Decimal(4)),
    "msvamp": ("sw/test", {"m_query": "Ngapi?", "response": "4.0", "equation": "+"}, Decimal(4)),
    "xnli": ("sw/test", {"premise": "a", "hypothesis": "b", "label": 2}, "Contradiction"),
    "xcsqa": (
        "X-CSQA-sw/validation",
        {
            "id": "x",
            "lang": "sw",
            "question": {"stem": "q", "choices": {"label": list("ABCDE"), "text": list("vwxyz")}},
            "answerKey": "D",
        },
        "D",
    ),
    "afrimgsm": ("swa/test", {"question": "Ngapi?", "answer": None, "answer_number": 1596}, Decimal(1596)),
    "belebele": ("swh_Latn/test", BELEBELE, "C"),
    "sib200": ("swh_Latn/test", {"index_id": 7, "category": "travel", "text": "Boti"}, "travel"),
    "global-mmlu-lite": (
        "sw/test",
        {"sample_id": "x/test/1", "subject": "x", "question": "q", **{f"option_{one}": one for one in "abcd"}, "answer": "B"},
        "B",
    ),
    "polymath-top": ("sw/top", {"id": "top-sw-0", "question": "q", "answer": "$\\frac{5}{6}$"}, Decimal(5) / 6),
}


@pytest.mark.parametrize("name", sorted(HUB_ROWS))
def test_the_hubs_parquet_files_are_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow
    from pyarrow.parquet import write_table

    place, row, gold = HUB_ROWS[name]
    count = SOURCES[name].rows
    path = tmp_path / place / "0000.parquet"
    path.parent.mkdir(parents=True)
    write_table(pyarrow.Table.from_pylist([row] * count), path)
    monkeypatch.setattr(benchmark_hub, "_download", lambda _name, file, _language: tmp_path / file)
    settings = BenchmarkSettings.model_validate({"name": name, "source": "hub"})
    found = load_benchmark(settings, "sw")
    assert len(found.questions) == count
    assert found.questions[0].gold == gold


def test_without_a_network_the_hub_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EnvironmentUnfit, match=r"mgsm: lilift cannot reach the Hugging Face hub, and sw/test/0000\.parquet"):
        load_benchmark(BenchmarkSettings(name="mgsm", source="hub"), "sw")


def test_mmwp_is_not_on_the_hub() -> None:
    with pytest.raises(DataError, match=r"mmwp is not on the Hugging Face hub; get them with `lilift eval fetch mmwp`"):
        load_benchmark(BenchmarkSettings(name="mmwp", source="hub"), "sw")
