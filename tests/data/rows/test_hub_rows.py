"""Data sets of the hub: CSV and JSON letter for letter, everything else through `datasets`. A folder stands in for the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from lilift.data.rows import row_files
from lilift.data.rows.hub_rows import find_hub_files
from lilift.data.texts.instructions import load_instructions
from lilift.recipe.errors import DataError
from lilift.recipe.schema import InstructionSettings

TEXTS = ["007", "None", "null", "12.50", "[1, 2]", "true"]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that lilift takes for a name on the hub."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(row_files, "is_local", lambda _: False)
    (tmp_path / "hub").mkdir()
    return tmp_path / "hub"


def responses(source: Path, **settings: Any) -> list[str]:
    examples, _ = load_instructions(InstructionSettings(source=str(source), **settings), seed=0)
    return [example.response for example in examples]


def rows() -> list[dict[str, Any]]:
    return [{"question": f"{number}?", "response": text} for number, text in enumerate(TEXTS)]


@pytest.mark.parametrize("name", ["train.jsonl", "train.json", "train.csv"])
def test_texts_come_letter_for_letter(hub: Path, name: str) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in [{"question": "n", "response": 18}, *rows()])
    table = "question,response\n" + "n,18\n" + "".join(f'{row["question"]},"{row["response"]}"\n' for row in rows())
    (hub / name).write_text(table if name.endswith("csv") else lines, encoding="utf-8")
    assert responses(hub) == ["18", *TEXTS]


def test_the_split_is_chosen_and_a_part_of_one_is_left_to_datasets(hub: Path) -> None:
    for split, text in (("train", "a"), ("test", "b")):
        lines = "".join(json.dumps({"question": f"{n}?", "response": f"{text}{n}"}) + "\n" for n in range(4))
        (hub / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    assert responses(hub, split="test") == ["b0", "b1", "b2", "b3"]
    assert responses(hub, split="test[:2]") == ["b0", "b1"]
    with pytest.raises(DataError, match=r"no split 'valid'; set data\.instructions\.split"):
        responses(hub, split="valid")


def test_a_subset_is_chosen_and_named_where_it_is_missing(hub: Path) -> None:
    for name in ("main", "socratic"):
        (hub / f"{name}.jsonl").write_text(json.dumps({"question": "q?", "response": name}) + "\n", encoding="utf-8")
    configs = "".join(f"- config_name: {name}\n  data_files: {name}.jsonl\n" for name in ("main", "socratic"))
    (hub / "README.md").write_text(f"---\nconfigs:\n{configs}---\n", encoding="utf-8")
    assert responses(hub, subset="socratic") == ["socratic"]
    with pytest.raises(DataError, match=r"has several subsets; set data\.instructions\.subset to one of main, socratic"):
        responses(hub)
    with pytest.raises(DataError, match=r"has no subset 'mian'; set data\.instructions\.subset to one of main, socratic"):
        responses(hub, subset="mian")


def test_a_data_set_that_is_a_script_is_read_from_the_hubs_parquet_files(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset_builder(_source: str, **where: str) -> object:
        asked.append(where)
        if "data_dir" not in where:
            raise RuntimeError("Dataset scripts are no longer supported, but found sib200.py")
        return object()

    monkeypatch.setattr(datasets, "load_dataset_builder", load_dataset_builder)
    monkeypatch.setattr(datasets, "load_dataset", lambda source, split, **where: [source, split, where])
    parquet = {"data_dir": "eng_Latn", "revision": "refs/convert/parquet"}
    found = find_hub_files(InstructionSettings(source="Davlan/sib200", subset="eng_Latn"))
    assert found == ["Davlan/sib200", "train", parquet]
    assert asked == [{"name": "eng_Latn"}, parquet]
    with pytest.raises(DataError, match="scripts are no longer supported"):
        find_hub_files(InstructionSettings(source="Davlan/sib200", subset="eng_Latn", revision="abc"))


def test_parquet_comes_through_datasets(hub: Path) -> None:
    datasets.Dataset.from_list(rows()).to_parquet(str(hub / "train.parquet"))
    assert isinstance(find_hub_files(InstructionSettings(source=str(hub))), datasets.Dataset)
    assert responses(hub) == TEXTS


def test_a_folder_that_datasets_saved_has_splits(tmp_path: Path) -> None:
    saved = datasets.DatasetDict({"train": datasets.Dataset.from_list(rows())})
    saved.save_to_disk(str(tmp_path / "saved"))
    assert responses(tmp_path / "saved") == TEXTS
    with pytest.raises(DataError, match=r"the data set has no split 'test'; set data\.instructions\.split"):
        responses(tmp_path / "saved", split="test")
    next((tmp_path / "saved" / "train").glob("*.arrow")).unlink()
    with pytest.raises(DataError, match="cannot read the saved data set"):
        responses(tmp_path / "saved")
