"""Loading benchmarks: the authors' files as they are, and one clear line for each way they can be wrong."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest

from lilift.evaluate.benchmarks.benchmark import load_benchmark
from lilift.evaluate.benchmarks.benchmark_sources import SOURCES
from lilift.evaluate.evaluator import load_benchmarks
from lilift.recipe.errors import DataError
from lilift.recipe.schema import BenchmarkSettings


def mmwp(folder: Path, **more: object) -> BenchmarkSettings:
    return BenchmarkSettings.model_validate({"name": "mmwp", "path": str(folder), **more})


def mgsm(folder: Path, **more: object) -> BenchmarkSettings:
    return BenchmarkSettings.model_validate({"name": "mgsm", "path": str(folder), **more})


def write_mmwp(folder: Path, language: str, *first: object) -> Path:
    """A file of as many rows as MMWP has, the first of which are given."""
    rows = [*first, *({"question": f"{row} + 1?", "answer": f"{row + 1}.0"} for row in range(len(first), 811))]
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
    write_mmwp(tmp_path, "sw", {"question": "Ngapi?", "answer": written})
    assert load_benchmark(mmwp(tmp_path), "sw").questions[0].gold == Decimal(value)


@pytest.mark.parametrize(
    ("spelling", "gold"),
    [("12.50", "12.50"), ("1E5", "100000"), ("123456789012345678.25", "123456789012345678.25"), ("1e22", "1" + "0" * 22)],
)
def test_a_gold_number_of_json_is_what_the_file_says(tmp_path: Path, spelling: str, gold: str) -> None:
    path = write_mmwp(tmp_path, "sw", {"question": "Ngapi?", "answer": "GOLD"})
    path.write_text(path.read_text(encoding="utf-8").replace('"GOLD"', spelling), encoding="utf-8")
    assert load_benchmark(mmwp(tmp_path), "sw").questions[0].gold == Decimal(gold)


def test_plain_and_gzipped_files_are_read_alike(tmp_path: Path) -> None:
    path = write_mmwp(tmp_path, "sw", {"question": "Ngapi?", "answer": 4})
    plain = load_benchmark(mmwp(tmp_path), "sw")
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert load_benchmark(mmwp(tmp_path), "sw") == plain


@pytest.mark.parametrize("name", SOURCES)
def test_without_a_path_the_error_says_where_to_get_the_files(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DataError, match=r"github\.com|huggingface\.co/datasets"):
        load_benchmark(BenchmarkSettings.model_validate({"name": name}), "sw")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the folder of the benchmark 'mmwp' does not exist"):
        load_benchmark(mmwp(tmp_path / "absent"), "sw")


def test_a_language_that_the_folder_lacks_names_those_it_has(tmp_path: Path) -> None:
    write_mmwp(tmp_path, "bn")
    write_mmwp(tmp_path, "sw")
    with pytest.raises(DataError, match=r"no questions in 'th'; choose from bn, sw"):
        load_benchmark(mmwp(tmp_path), "th")


def test_a_folder_without_any_file_of_the_benchmark(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file test_<language>\.json"):
        load_benchmark(mmwp(tmp_path), "sw")


def test_an_unknown_language() -> None:
    with pytest.raises(DataError, match="unknown language 'xx-none'"):
        load_benchmark(BenchmarkSettings(name="world"), "xx-none")


def test_a_language_that_the_world_lacks() -> None:
    with pytest.raises(DataError, match=r"evaluate.benchmarks: world: .* have no language 'de', only en, om"):
        load_benchmark(BenchmarkSettings(name="world"), "de")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", "has no rows"),
        (b"\n", r"test_sw\.json: the benchmark file is empty"),
        (b"{}", "not a JSON list"),
        (b'[{"question": "a"', r"test_sw\.json:1: the file is not valid JSON"),
        (b'[{"question": "a", "answer": "1"}, {"answer": "1"}]', "row 1: the row is not an object"),
        (b'[{"question": "a", "answer": "many"}]', "row 0: the gold answer 'many' is not a number"),
        (b'[{"question": "a", "answer": "1,05"}]', "row 0: the gold answer '1,05' is not a number"),
        (b'[{"question": "  ", "answer": "1"}]', "row 0: the question is empty"),
        (b'[{"question": "a", "answer": "1"}]', "the file has 1 rows, but mmwp has 811"),
        ("[é]".encode("latin-1"), "not UTF-8"),
        (b'[\n{"question": "\xc3\xa9"},\n{"question": "\xe9"}]', r"test_sw\.json:3: the benchmark file is not UTF-8"),
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
        ("Ngapi?\t4\n" * 249, "the file has 249 rows, but mgsm has 250"),
        ("Ngapi?\t4\nNgapi?\n", r"mgsm_sw\.tsv:2: the line has 1 columns instead of 2"),
        ("Ngapi?\t4\tx\n", r"mgsm_sw\.tsv:1: the line has 3 columns instead of 2"),
        ("Ngapi?\t4\n\nNgapi?\t5\n", r"mgsm_sw\.tsv:2: the line has 1 columns instead of 2"),
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


def of(name: str, folder: Path, **more: object) -> BenchmarkSettings:
    return BenchmarkSettings.model_validate({"name": name, "path": str(folder), **more})


def test_msvamp_is_json_lines_named_by_language(shared_data: Path) -> None:
    bengali = load_benchmark(of("msvamp", shared_data / "msvamp"), "bn")
    assert len(bengali.questions) == 1000
    assert bengali.questions[0].gold == 8
    with pytest.raises(DataError, match=r"no questions in 'te'; choose from bn, de, en, es, fr, ja, ru, sw, th, zh"):
        load_benchmark(of("msvamp", shared_data / "msvamp"), "te")


def test_xnli_pairs_find_their_labels(shared_data: Path) -> None:
    found = load_benchmark(of("xnli", shared_data / "xnli", limit=3), "sw")
    assert [question.gold for question in found.questions] == ["Contradiction", "Entailment", "Neutral"]
    assert "Sijaongea na yeye tena." in found.questions[0].text
    assert found.questions[0].labels == ("Entailment", "Neutral", "Contradiction")
    assert found.rows_read == 5010


def test_xnli_pairs_without_labels_or_with_too_few_are_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "test-sw.tsv").write_text("a\tb\nc\td\n", encoding="utf-8")
    with pytest.raises(DataError, match="the labels of the test rows are missing"):
        load_benchmark(of("xnli", tmp_path), "sw")
    (tmp_path / "test_labels.txt").write_text("0\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"the file has 2 rows, but test_labels\.txt has 1 labels"):
        load_benchmark(of("xnli", tmp_path), "sw")


def test_xnlis_own_file_holds_every_language(tmp_path: Path) -> None:
    rows = ["language\tgold_label\tsentence1\tsentence2"]
    for number in range(5010):
        rows += [f"{code}\t{('entailment', 'neutral')[number % 2]}\t{code} {number}\th" for code in ("sw", "th")]
    (tmp_path / "xnli.test.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    found = load_benchmark(of("xnli", tmp_path), "th")
    assert "Premise: th 5009" in found.questions[-1].text
    assert [question.gold for question in found.questions[:2]] == ["Entailment", "Neutral"]
    with pytest.raises(DataError, match="xnli has no questions in 'ur'"):
        load_benchmark(of("xnli", tmp_path), "ur")


def xcsqa_line(id: str, answer: str = "B", **more: object) -> str:
    choices = [{"label": letter, "text": f"{letter.lower()} {id}"} for letter in "ABCDE"]
    return json.dumps({"id": id, "question": {"stem": f"q {id}?", "choices": choices}, "answerKey": answer, **more}) + "\n"


def write_xcsqa(folder: Path, code: str, *lines: str) -> None:
    (folder / code).mkdir(exist_ok=True)
    rows = [*lines, *(xcsqa_line(f"i{number}") for number in range(len(lines), 1000))]
    (folder / code / "dev.jsonl").write_text("".join(rows), encoding="utf-8")


def test_xcsqa_has_its_own_code_for_japanese(tmp_path: Path) -> None:
    write_xcsqa(tmp_path, "jap")
    write_xcsqa(tmp_path, "sw")
    question = load_benchmark(of("xcsqa", tmp_path), "ja").questions[0]
    assert (question.id, question.gold, question.choices[1]) == ("i0", "B", "b i0")
    assert "B. b i0" in question.text
    with pytest.raises(DataError, match="choose from ja, sw"):
        load_benchmark(of("xcsqa", tmp_path), "fr")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (xcsqa_line("x", ""), "the row has no answer, because X-CSQA's authors do not publish"),
        (xcsqa_line("x", "F"), "'F' is not a letter from A to E"),
        (xcsqa_line("x", question={"stem": "q", "choices": []}), "choices are not A to E"),
        (xcsqa_line("x", question="q"), "has no `id` and `question`"),
        ("{\n", "the line is not valid JSON"),
        ("[]\n", "not a JSON object"),
    ],
    ids=["hidden answer", "unknown letter", "no choices", "no question", "not json", "no object"],
)
def test_a_broken_xcsqa_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    write_xcsqa(tmp_path, "sw", line)
    with pytest.raises(DataError, match=rf"dev\.jsonl:1: .*{message}"):
        load_benchmark(of("xcsqa", tmp_path), "sw")


def test_languages_with_different_gold_answers_do_not_belong_together(tmp_path: Path) -> None:
    write_mmwp(tmp_path, "en", {"question": "How many?", "answer": "4"})
    write_mmwp(tmp_path, "sw", {"question": "Ngapi?", "answer": "4.0"})
    write_mmwp(tmp_path, "bn", {"question": "কত?", "answer": "5"})
    assert len(load_benchmarks([mmwp(tmp_path)], ["sw"], seed=0)) == 2
    with pytest.raises(DataError, match="row 0: the right answer is 5 in 'bn' and 4 in 'en', so the files"):
        load_benchmarks([mmwp(tmp_path)], ["sw", "bn"], seed=0)


def test_rows_of_mmwp_with_a_known_fault_are_flagged(tmp_path: Path) -> None:
    for code in ("fr", "en"):
        write_mmwp(tmp_path, code)
    french, english = (load_benchmark(mmwp(tmp_path), code) for code in ("fr", "en"))
    assert not french.questions[10].sound
    assert english.questions[10].sound
    assert not english.questions[43].sound


@pytest.mark.parametrize("name", SOURCES)
def test_every_benchmark_ships_a_sample_that_is_called_one(name: str) -> None:
    settings = BenchmarkSettings.model_validate({"name": name, "source": "sample"})
    english, swahili = load_benchmarks([settings], ["sw"], seed=0)
    assert english.name == swahili.name == f"{name}-sample"
    assert 3 <= len(english.questions) <= 5
    assert all(question.sound and question.text for question in swahili.questions)
