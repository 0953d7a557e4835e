"""Loading benchmarks: the authors' files as they are, and one clear line for each way they can be wrong."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest

from lilift.evaluate.benchmarks import load_benchmark
from lilift.recipe.errors import DataError
from lilift.recipe.schema import BenchmarkSettings


def mmwp(folder: Path, **more: object) -> BenchmarkSettings:
    return BenchmarkSettings.model_validate({"name": "mmwp", "path": str(folder), **more})


def mgsm(folder: Path, **more: object) -> BenchmarkSettings:
    return BenchmarkSettings.model_validate({"name": "mgsm", "path": str(folder), **more})


def write_mmwp(folder: Path, language: str, rows: object) -> Path:
    path = folder / f"test_{language}.json"
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return path


def test_the_world_asks_the_same_problems_in_every_language() -> None:
    settings = BenchmarkSettings(name="world", limit=12)
    english, oromo = (load_benchmark(settings, code, seed=3) for code in ("en", "om"))
    assert len(english.questions) == oromo.rows_read == 12
    for one, other in zip(english.questions, oromo.questions, strict=True):
        assert (one.id, one.gold) == (other.id, other.gold)
        assert one.text != other.text


def test_the_world_depends_on_its_seed() -> None:
    settings = BenchmarkSettings(name="world", limit=5)
    assert load_benchmark(settings, "om", seed=0) == load_benchmark(settings, "om", seed=0)
    assert load_benchmark(settings, "om", seed=0) != load_benchmark(settings, "om", seed=1)


@pytest.mark.parametrize("language", ["en", "sw", "bn", "th", "zh"])
def test_mmwp_has_811_rows_in_every_language(shared_data: Path, language: str) -> None:
    found = load_benchmark(mmwp(shared_data / "mmwp"), language)
    assert len(found.questions) == found.rows_read == 811
    assert found.questions[0].gold == 5
    assert found.questions[0].id == "0"
    assert sum(question.gold == 0 for question in found.questions) == 3
    assert sum(question.gold % 1 != 0 for question in found.questions) == 46


def test_mgsm_golds_have_thousand_separators(shared_data: Path) -> None:
    found = load_benchmark(mgsm(shared_data / "mgsm"), "sw")
    assert len(found.questions) == 250
    assert {Decimal(2125), Decimal(114200), Decimal(276000), Decimal(5600)} <= {question.gold for question in found.questions}


def test_a_limit_takes_the_first_rows_and_tells_how_many_there_are(shared_data: Path) -> None:
    found = load_benchmark(mgsm(shared_data / "mgsm", limit=7), "te")
    assert (len(found.questions), found.rows_read) == (7, 250)


@pytest.mark.parametrize(
    ("written", "value"), [("10 ", "10"), ("45.0", "45"), ("3.33333", "3.33333"), ("-2", "-2"), ("2,125", "2125")]
)
def test_golds_as_they_are_written(tmp_path: Path, written: str, value: str) -> None:
    write_mmwp(tmp_path, "sw", [{"question": "Ngapi?", "answer": written}])
    assert load_benchmark(mmwp(tmp_path), "sw").questions[0].gold == Decimal(value)


def test_plain_and_gzipped_files_are_read_alike(tmp_path: Path) -> None:
    path = write_mmwp(tmp_path, "sw", [{"question": "Ngapi?", "answer": 4}])
    plain = load_benchmark(mmwp(tmp_path), "sw")
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert load_benchmark(mmwp(tmp_path), "sw") == plain


@pytest.mark.parametrize("name", ["mmwp", "mgsm"])
def test_without_a_path_the_error_says_where_to_get_the_files(name: str) -> None:
    with pytest.raises(DataError, match=r"github\.com"):
        load_benchmark(BenchmarkSettings.model_validate({"name": name}), "sw")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        load_benchmark(mmwp(tmp_path / "absent"), "sw")


def test_a_language_that_the_folder_lacks_names_those_it_has(tmp_path: Path) -> None:
    write_mmwp(tmp_path, "bn", [])
    write_mmwp(tmp_path, "sw", [])
    with pytest.raises(DataError, match=r"no questions in 'th'; choose from bn, sw"):
        load_benchmark(mmwp(tmp_path), "th")


def test_a_folder_without_any_file_of_the_benchmark(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file test_<language>\.json"):
        load_benchmark(mmwp(tmp_path), "sw")


def test_an_unknown_language() -> None:
    with pytest.raises(DataError, match="unknown language 'xx-none'"):
        load_benchmark(BenchmarkSettings(name="world"), "xx-none")


def test_a_language_that_the_world_lacks() -> None:
    with pytest.raises(DataError, match="the world has no language 'de'"):
        load_benchmark(BenchmarkSettings(name="world"), "de")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", "has no rows"),
        (b"{}", "not a JSON list"),
        (b'[{"question": "a"', r"test_sw\.json:1: not JSON"),
        (b'[{"question": "a", "answer": "1"}, {"answer": "1"}]', "row 1: the row is not an object"),
        (b'[{"question": "a", "answer": "many"}]', "row 0: the gold answer 'many' is not a number"),
        (b'[{"question": "a", "answer": "1,05"}]', "row 0: the gold answer '1,05' is not a number"),
        (b'[{"question": "  ", "answer": "1"}]', "row 0: the question is empty"),
        ("[é]".encode("latin-1"), "not UTF-8"),
    ],
)
def test_a_broken_mmwp_file_is_one_clear_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "test_sw.json").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_benchmark(mmwp(tmp_path), "sw")
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no rows"),
        ("Ngapi?\t4\nNgapi?\n", r"mgsm_sw\.tsv:2: 1 columns instead of 2"),
        ("Ngapi?\t4\tx\n", r"mgsm_sw\.tsv:1: 3 columns instead of 2"),
        ("Ngapi?\t4\n\nNgapi?\t5\n", r"mgsm_sw\.tsv:2: 1 columns instead of 2"),
    ],
)
def test_a_broken_mgsm_file_is_one_clear_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "mgsm_sw.tsv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load_benchmark(mgsm(tmp_path), "sw")


def test_a_truncated_gzip_file_is_one_clear_line(tmp_path: Path) -> None:
    whole = gzip.compress(json.dumps([{"question": "Ngapi?", "answer": "4"}] * 50).encode())
    (tmp_path / "test_sw.json.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged gzip data"):
        load_benchmark(mmwp(tmp_path), "sw")
