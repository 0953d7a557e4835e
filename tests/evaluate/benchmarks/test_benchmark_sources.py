"""The register of benchmarks: real formats are read, damaged files are one line each, every language has a code of lilift."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest

from lilift.cli.eval_fetch import FETCHED
from lilift.data.languages import languages
from lilift.evaluate.benchmarks.benchmark import Benchmark, load_benchmark, published_name
from lilift.evaluate.benchmarks.benchmark_fetch import PUBLIC
from lilift.evaluate.benchmarks.benchmark_rows import without_instruction
from lilift.evaluate.benchmarks.benchmark_sources import SOURCES, TRANSLATORS, languages_of
from lilift.evaluate.evaluator import load_benchmarks
from lilift.recipe.errors import DataError
from lilift.recipe.schema import WITH_LABELS, BenchmarkName, BenchmarkSettings


def of(name: str, folder: Path, **more: object) -> BenchmarkSettings:
    return BenchmarkSettings.model_validate({"name": name, "path": str(folder), **more})


def belebele_row(number: int, **more: object) -> dict[str, Any]:
    choices = {f"mc_answer{one}": f"c{one} of {number}" for one in range(1, 5)}
    row = {"link": f"https://example.org/{number:03}", "question_number": 1, "flores_passage": f"p{number}", "question": "q?"}
    return {**row, **choices, "correct_answer_num": "2", "dialect": "swh_Latn", "ds": "2023-05-09", **more}


def mmlu_row(number: int, **more: object) -> dict[str, Any]:
    options = {f"option_{one}": f"{one} of {number}" for one in "abcd"}
    return {"sample_id": f"x/test/{number:03}", "subject": "x", "question": "q?", **options, "answer": "D", **more}


def write_lines(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_belebele(folder: Path, code: str, *first: dict[str, Any]) -> None:
    rows = [*first, *(belebele_row(number) for number in range(len(first), 900))]
    write_lines(folder / f"{code}.jsonl", rows[::-1] if code == "eng_Latn" else rows)


def write_mmlu(folder: Path, code: str, *first: dict[str, Any], start: int = 0) -> None:
    import pyarrow
    from pyarrow.parquet import write_table

    path = folder / code / "test-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    rows = [*first, *(mmlu_row(number) for number in range(start + len(first), start + 400))]
    write_table(pyarrow.Table.from_pylist(rows), path)


def write_polymath(folder: Path, code: str, level: str, *first: str | None) -> None:
    answers = [*first, *(str(number) for number in range(len(first), 125))]
    rows = [{"id": f"{level}-{code}-{number}", "question": f"{number}?", "answer": gold} for number, gold in enumerate(answers)]
    write_lines(folder / code / f"{level}.jsonl", rows)


def write_afrimgsm(folder: Path, code: str, *first: str) -> None:
    lines = [*first, *(f"Ngapi {number}?\t\t{number}.0\t" for number in range(len(first), 250))]
    (folder / code).mkdir(parents=True)
    (folder / code / "test.tsv").write_text(
        "\n".join(["question\tanswer\tanswer_number\tequation_solution", *lines]) + "\n", encoding="utf-8"
    )


def write_sib200(folder: Path, code: str, *first: str) -> None:
    lines = [*first, *(f"{number}\ttravel\tBoti {number}" for number in range(len(first), 204))]
    (folder / code).mkdir(parents=True)
    (folder / code / "test.tsv").write_text("\n".join(["index_id\tcategory\ttext", *lines]) + "\n", encoding="utf-8")


def ids(benchmark: Benchmark) -> list[str]:
    return [question.id for question in benchmark.questions]


def test_names_of_recipes_are_those_of_the_register() -> None:
    assert set(get_args(BenchmarkName)) == {"world", "custom", *SOURCES}
    assert set(WITH_LABELS) == {name for name, source in SOURCES.items() if source.labels}
    assert set(FETCHED) == PUBLIC.keys()


@pytest.mark.parametrize("name", SOURCES)
def test_every_language_of_a_benchmark_has_a_code_of_lilift(name: str) -> None:
    source = SOURCES[name]
    assert source.languages.keys() <= languages().keys()
    assert len(set(source.languages.values())) == len(source.languages)
    assert source.translated_by in TRANSLATORS


def test_benchmarks_have_the_languages_that_their_authors_name() -> None:
    counts = {name: len(languages_of(name)) for name in ("afrimgsm", "polymath", "belebele", "sib200", "global-mmlu-lite")}
    assert counts == {"afrimgsm": 19, "polymath": 18, "belebele": 122, "sib200": 205, "global-mmlu-lite": 23}
    assert {languages_of("sib200")[code] for code in ("ak", "tw-asante", "ber", "cmn-Hant", "kr-Arab")} == {
        *("twi_Latn", "aka_Latn", "tzm_Tfng", "zho_Hant", "knc_Arab")
    }


@pytest.mark.parametrize("name", SOURCES)
def test_what_lilift_adds_to_a_question_is_no_part_of_it(name: str) -> None:
    questions = load_benchmark(BenchmarkSettings.model_validate({"name": name, "source": "sample"}), "en").questions
    own = [without_instruction(question.text) for question in questions]
    assert not any("Answer with" in text for text in own)
    assert all((text != question.text) is bool(question.labels) for text, question in zip(own, questions, strict=True))


def test_a_bare_question_is_the_text_alone_and_has_a_name_of_its_own() -> None:
    usual, bare = (
        load_benchmark(BenchmarkSettings(name="sib200", source="sample", labels="likelihood", bare=bare), "sw")
        for bare in (False, True)
    )
    assert bare.name == "sib200-sample-bare-likelihood"
    assert published_name(bare.name) == "sib200"
    assert [one.text for one in usual.questions] == [
        f"Text: {one.text}\n{usual.questions[0].text.splitlines()[-1]}" for one in bare.questions
    ]
    with pytest.raises(ValueError, match="bare: lilift adds no line to the questions of mgsm"):
        BenchmarkSettings(name="mgsm", bare=True)


def test_afrimgsm_is_a_table_with_quoted_cells(tmp_path: Path) -> None:
    write_afrimgsm(tmp_path / "data", "swa", '"Alisema ""ngapi""?"\t\t1,596\t', "Bei ni 2.5?\t\t2.5\t")
    found = load_benchmark(of("afrimgsm", tmp_path), "sw")
    assert [(one.id, one.text, one.gold) for one in found.questions[:2]] == [
        ("0", 'Alisema "ngapi"?', Decimal(1596)),
        ("1", "Bei ni 2.5?", Decimal("2.5")),
    ]
    assert load_benchmark(of("afrimgsm", tmp_path / "data"), "sw") == found


def test_belebele_is_asked_with_its_passage_and_in_the_same_order_in_every_language(tmp_path: Path) -> None:
    for code in ("swh_Latn", "eng_Latn"):
        write_belebele(tmp_path, code)
    swahili, english = load_benchmarks([of("belebele", tmp_path, languages=["sw", "en"])], (), seed=0)
    assert ids(swahili) == ids(english)
    question = swahili.questions[0]
    assert question.text.startswith("Passage: p0\nQuestion: q?\nA. c1 of 0\nB. c2 of 0\n")
    assert question.text.endswith("Answer with its letter: A, B, C or D.")
    assert (question.gold, question.labels, question.choices[3]) == ("B", ("A", "B", "C", "D"), "c4 of 0")


def test_two_passages_behind_one_link_are_two_questions(tmp_path: Path) -> None:
    same = belebele_row(0, flores_passage="another")
    write_belebele(tmp_path, "swh_Latn", belebele_row(0), same)
    assert ids(load_benchmark(of("belebele", tmp_path), "sw"))[:2] == [
        "https://example.org/000#1",
        "https://example.org/000#1 2",
    ]


def test_global_mmlu_lite_may_have_other_rows_in_another_language(tmp_path: Path) -> None:
    write_mmlu(tmp_path, "sw", mmlu_row(0, answer="A"))
    write_mmlu(tmp_path, "sq", start=100)
    swahili, _ = load_benchmarks([of("global-mmlu-lite", tmp_path, languages=["sw", "sq"])], (), seed=0)
    assert (swahili.questions[0].gold, swahili.questions[0].choices) == ("A", ("a of 0", "b of 0", "c of 0", "d of 0"))
    write_mmlu(tmp_path, "en")
    with pytest.raises(DataError, match="row x/test/000: the right answer is D in 'en' and A in 'sw'"):
        load_benchmarks([of("global-mmlu-lite", tmp_path, languages=["sw", "en"])], (), seed=0)


def test_polymath_leaves_out_what_is_no_number(tmp_path: Path) -> None:
    golds = (
        "$-85$",
        "$\\frac{13}{24}$",
        "$b \\geq $-\\frac{2}{3}$",
        "$2\\sqrt{2}$",
        "$[2,3)$",
        "$-\\frac{1}{2}$",
        "$\\frac{1}{4040}$",
    )
    write_polymath(tmp_path, "sw", "medium", *golds)
    found = load_benchmark(of("polymath-medium", tmp_path, limit=3), "sw")
    assert [(one.id, one.gold) for one in found.questions] == [("0", -85), ("1", Decimal(13) / 24), ("5", Decimal("-0.5"))]
    assert (found.rows_read, found.left_out) == (125, 4)


def test_sib200_is_quoted_in_its_authors_files_and_not_in_a_table_of_all_splits(tmp_path: Path) -> None:
    write_sib200(tmp_path / "one", "swh_Latn", '9\tsports\t"""Timu"" yetu"')
    rows = ["split\tindex_id\tcategory\ttext", "train\t1\thealth\tx", 'test\t9\tsports\t"Timu" yetu']
    rows += [f"test\t{number}\ttravel\tBoti {number}" for number in range(1, 204)]
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "sw.tsv.gz").write_bytes(gzip.compress(("\n".join(rows) + "\n").encode()))
    found = load_benchmark(of("sib200", tmp_path / "one"), "sw")
    assert found == load_benchmark(of("sib200", tmp_path / "two"), "sw")
    assert found.questions[0].text.startswith('Text: "Timu" yetu\nWhat is the topic')
    assert found.questions[0].gold == "sports"
    with pytest.raises(DataError, match="no questions in 'en'; choose from sw"):
        load_benchmark(of("sib200", tmp_path / "two"), "en")


def test_sib200_has_the_same_rows_in_every_real_file(shared_data: Path) -> None:
    settings = of("sib200", shared_data / "sib200_flores_parallel", languages=["en", "mmwp"])
    loaded = load_benchmarks([settings], (), seed=0)
    assert len(loaded) == 48
    assert {(len(one.questions), one.rows_read) for one in loaded} == {(204, 204)}
    assert {question.gold for question in loaded[0].questions} == set(loaded[0].questions[0].labels)


DAMAGED: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "belebele, no answer": (
        "belebele",
        lambda folder: write_belebele(folder, "swh_Latn", belebele_row(0, correct_answer_num=None)),
        r"swh_Latn\.jsonl:1: the row has no answer",
    ),
    "belebele, fifth answer": (
        "belebele",
        lambda folder: write_belebele(folder, "swh_Latn", belebele_row(0, correct_answer_num="5")),
        r"swh_Latn\.jsonl:1: the answer '5' is not a number from 1 to 4",
    ),
    "belebele, empty choice": (
        "belebele",
        lambda folder: write_belebele(folder, "swh_Latn", belebele_row(0, mc_answer3=" ")),
        r"swh_Latn\.jsonl:1: the choices are not A to D, each with a text",
    ),
    "belebele, no passage": (
        "belebele",
        lambda folder: write_lines(folder / "swh_Latn.jsonl", [{"link": "x"}]),
        r"swh_Latn\.jsonl:1: the column question_number, flores_passage, .* is missing",
    ),
    "belebele, too short": (
        "belebele",
        lambda folder: write_lines(folder / "swh_Latn.jsonl", [belebele_row(0)]),
        "the file has 1 rows, but belebele has 900",
    ),
    "sib200, unknown topic": (
        "sib200",
        lambda folder: write_sib200(folder, "swh_Latn", "0\tweather\tMvua"),
        r"test\.tsv:2: the topic 'weather' is not one of SIB-200's seven topics",
    ),
    "sib200, no topic": (
        "sib200",
        lambda folder: write_sib200(folder, "swh_Latn", "0\t\tMvua"),
        r"test\.tsv:2: the topic '' is not one of",
    ),
    "sib200, open quote": (
        "sib200",
        lambda folder: write_sib200(folder, "swh_Latn", '0\ttravel\t"Mvua'),
        "the file has 1 rows, but sib200 has 204",
    ),
    "afrimgsm, no answer": (
        "afrimgsm",
        lambda folder: write_afrimgsm(folder, "swa", "Ngapi?\t\t\t"),
        r"test\.tsv:2: the gold answer '' is not a number",
    ),
    "afrimgsm, no header": (
        "afrimgsm",
        lambda folder: (folder / "swa").mkdir() or ((folder / "swa" / "test.tsv").write_text("Ngapi?\t4\n") and None),
        r"test\.tsv:1: the column question, answer_number is missing",
    ),
    "afrimgsm, short line": (
        "afrimgsm",
        lambda folder: write_afrimgsm(folder, "swa", "Ngapi?\t4"),
        r"test\.tsv:2: the line and the header differ in their number of columns",
    ),
    "polymath, no answer": (
        "polymath-low",
        lambda folder: write_polymath(folder, "sw", "low", None),
        r"low\.jsonl:1: the row has no answer",
    ),
    "global-mmlu-lite, unknown letter": (
        "global-mmlu-lite",
        lambda folder: write_mmlu(folder, "sw", mmlu_row(0, answer="E")),
        r"parquet: row 0: the answer 'E' is not a letter from A to D",
    ),
    "global-mmlu-lite, no parquet": (
        "global-mmlu-lite",
        lambda folder: write_lines(folder / "sw" / "test-00000-of-00001.parquet", [{}]),
        "the parquet file is damaged",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_one_clear_line(case: str, tmp_path: Path) -> None:
    name, write, message = DAMAGED[case]
    write(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        load_benchmark(of(name, tmp_path), "sw")
    assert "\n" not in caught.value.line()
