"""A benchmark's file is found by any spelling of its language."""

from __future__ import annotations

from pathlib import Path

from lilift.evaluate.benchmarks.benchmark_files import FileForm, read_json_list


def test_a_file_is_found_by_any_spelling_of_its_language(tmp_path: Path) -> None:
    form = FileForm("test_{}.json", read_json_list)
    for name in ("swa", "Bengali", "nob_Latn"):
        (tmp_path / f"test_{name}.json").write_text("[]", encoding="utf-8")
    assert form.find(tmp_path, "sw") == tmp_path / "test_swa.json"
    assert form.find(tmp_path, "bn") == tmp_path / "test_Bengali.json"
    assert form.find(tmp_path, "th") is None
    assert form.languages(tmp_path) == ["bn", "nb", "sw"]
    (tmp_path / "test_sw.json").write_text("[]", encoding="utf-8")
    assert form.find(tmp_path, "sw") == tmp_path / "test_sw.json"  # as the authors write it
