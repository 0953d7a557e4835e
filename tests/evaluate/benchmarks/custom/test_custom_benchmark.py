"""A benchmark of one's own from file to questions: languages, alignment, names, what the user is shown and what is refused."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from lilift.evaluate.benchmarks.benchmark import load_benchmark
from lilift.evaluate.benchmarks.custom.custom_benchmark import custom_lines, read_custom
from lilift.evaluate.benchmarks.custom.question_files import split_language
from lilift.evaluate.evaluator import load_benchmarks
from lilift.recipe.errors import DataError
from lilift.recipe.schema import BenchmarkSettings

EXAMPLE = Path(__file__).resolve().parents[4] / "docs" / "examples" / "problems.csv"


def own(path: Path, **more: object) -> BenchmarkSettings:
    return BenchmarkSettings.model_validate({"name": "custom", "path": str(path), **more})


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def ids(settings: BenchmarkSettings, language: str) -> list[str]:
    return [question.id for question in load_benchmark(settings, language).questions]


def test_the_example_of_the_documentation_is_read_as_its_page_shows() -> None:
    english, swahili = load_benchmarks([own(EXAMPLE)], ["sw"], seed=0)
    assert (english.name, english.language, swahili.language, swahili.rows_read) == ("custom-problems", "en", "sw", 5)
    assert [question.gold for question in swahili.questions] == [7, 27, 5000, 4, Decimal("1.5")]
    page = (EXAMPLE.parents[1] / "your-benchmark.md").read_text(encoding="utf-8")
    assert "\n".join(custom_lines([own(EXAMPLE)])) in page


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("problems_sw.csv", ("problems", "sw")),
        ("problems-Yoruba.jsonl", ("problems", "yo")),
        ("problems.sw.tsv.gz", ("problems", "sw")),
        ("problems_swh_Latn.csv", ("problems", "sw")),
        ("my-test_zh-Hans.json", ("my-test", "zh")),
        ("sw.csv", ("", "sw")),
        ("problems.v2.csv", ("problems.v2", None)),
        ("my_problems.csv", ("my_problems", None)),
    ],
)
def test_the_end_of_a_name_is_its_language(name: str, found: tuple[str, str | None]) -> None:
    assert split_language(Path(name)) == found


def test_a_folder_has_a_file_for_each_language_of_any_kind(tmp_path: Path) -> None:
    write(tmp_path / "school" / "maths_sw.csv", "query,gold\n2+2?,4\n3+3?,6\n")
    write(tmp_path / "school" / "maths-yo.jsonl", '{"query": "a?", "gold": 4}\n{"query": "b?", "gold": "6"}\n')
    write(tmp_path / "school" / "notes.csv", "who,when\nA,B\n")
    english_is_not_needed = load_benchmarks([own(tmp_path / "school")], ["yo", "sw"], seed=0)
    assert [(one.name, one.language, len(one.questions)) for one in english_is_not_needed] == [
        ("custom-school", "yo", 2), ("custom-school", "sw", 2),
    ]  # fmt: skip
    assert custom_lines([own(tmp_path / "school")])[1:] == [
        "custom-school: 2 questions in yo, sw, aligned by row; answers are numbers",
        "custom-school: not read, because the name ends with no language: notes.csv",
    ]


def test_languages_are_aligned_by_id_in_any_order_also_below_a_limit(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", "id,lang,question,answer\nx,sw,a,1\ny,sw,b,2\nz,sw,c,3\nz,en,c,3\ny,en,b,2\nx,en,a,1\n")
    assert ids(own(path, limit=2), "sw") == ids(own(path, limit=2), "en") == ["x", "y"]
    assert load_benchmarks([own(path, limit=2)], ["sw"], seed=0)[0].rows_read == 3


def test_one_column_for_each_language_and_one_language_that_only_the_setting_names(tmp_path: Path) -> None:
    wide = write(tmp_path / "wide.csv", "question_en,question_sw,answer\nOne?,Moja?,1\nTwo?,Mbili?,2\n,,\n")
    assert [one.questions[1].text for one in load_benchmarks([own(wide)], ["sw"], seed=0)] == ["Two?", "Mbili?"]
    plain = write(tmp_path / "plain.csv", "question,answer\nMoja?,1\n")
    assert ids(own(plain, languages=["Swahili"]), "sw") == ["1"]


def test_choices_and_labels_are_part_of_what_the_model_reads(tmp_path: Path) -> None:
    path = write(tmp_path / "c_sw.csv", "passage,question,A,B,answer\nText.,What?,one,two,B\nText.,Who?,x,y,x\n")
    with pytest.raises(DataError, match="none of the row's 2 choices"):
        load_benchmark(own(path), "sw")
    write(path, "passage,question,A,B,answer\nText.,What?,one,two,B\nText.,Who?,x,y,A\n")
    question = load_benchmark(own(path, labels="likelihood"), "sw").questions[0]
    asked = "Text.\n\nWhat?\nA. one\nB. two\nWhich choice is best? Answer with its letter: A or B."
    assert (question.text, question.gold, question.labels, question.choices) == (asked, "B", ("A", "B"), ("one", "two"))
    bare = load_benchmark(own(path, labels="likelihood", bare=True), "sw")
    assert bare.questions[0].text == "Text.\n\nWhat?\nA. one\nB. two"
    assert bare.name.endswith("-bare-likelihood")
    topics = write(tmp_path / "t_sw.csv", "text,topic\na,sports\nb,health\nc,sports\nd,health\n")
    assert load_benchmark(own(topics), "sw").questions[0].text == "a\nAnswer with one of these: health or sports."
    assert load_benchmark(own(topics, bare=True), "sw").questions[0].text == "a"
    named = write(
        tmp_path / "n_sw.csv", "question,label\nA yes or no?,yes\nB yes or no?,no\nC yes or no?,no\nD yes or no?,no\n"
    )
    assert load_benchmark(own(named), "sw").questions[0].text == "A yes or no?"


def test_names_come_from_title_file_or_folder_and_never_mean_something_else(tmp_path: Path) -> None:
    text = "question,answer\na,1\n"
    for name, title, expected in (
        ("p_sw.csv", None, "custom-p"),
        ("school/sw.csv", None, "custom-school"),
        ("school/sw.csv", "Yoruba school: maths!", "custom-Yoruba-school-maths"),
        ("my-sample_sw.csv", None, "custom-my-sample-questions"),
        ("likelihood_sw.csv", None, "custom-likelihood-questions"),
        ("ሙከራ 2_am.csv", None, "custom-ሙከራ-2"),
    ):
        assert read_custom(own(write(tmp_path / name, text), title=title)).name == expected


def test_several_benchmarks_need_different_names(tmp_path: Path) -> None:
    one, two = (write(tmp_path / folder / "test.csv", "question,answer,lang\na,1,sw\n") for folder in "ab")
    with pytest.raises(DataError, match="two benchmarks have the same name in results, custom-test; give one a `title`"):
        load_benchmarks([own(one), own(two)], ["sw"], seed=0)
    loaded = load_benchmarks([own(one), own(two, title="Test B")], ["sw"], seed=0)
    assert [found.name for found in loaded] == ["custom-test", "custom-Test-B"]


def test_a_changed_file_is_read_again_and_has_another_fingerprint(tmp_path: Path) -> None:
    path = write(tmp_path / "p_sw.csv", "question,answer\na,1\n")
    before = load_benchmark(own(path), "sw").fingerprint
    write(path, "question,answer\na,2\n")
    os.utime(path, ns=(1, 1))  # the new text has the length of the old one
    assert load_benchmark(own(path), "sw").fingerprint != before
    write(path, "note,question,answer\nsomething new,a,1\n")
    assert load_benchmark(own(path), "sw").fingerprint == before


def test_a_number_of_a_file_is_that_number_and_a_text_follows_the_language(tmp_path: Path) -> None:
    pretty = json.dumps([{"question": "a", "answer": 2.125}, {"question": "b", "answer": "3.125"}], indent=1)
    found = load_benchmark(own(write(tmp_path / "p_de.json", pretty)), "de")
    assert [question.gold for question in found.questions] == [Decimal("2.125"), 3125]
    for kind in (pyarrow.float32(), pyarrow.float64()):
        table = pyarrow.table({"question": ["a"], "answer": pyarrow.array([2.125], kind)})
        parquet.write_table(table, tmp_path / "q_de.parquet")
        assert load_benchmark(own(tmp_path / "q_de.parquet"), "de").questions[0].gold == Decimal("2.125")


def test_true_and_false_are_labels(tmp_path: Path) -> None:
    rows = [{"question": "a", "answer": value} for value in (True, False, True, True)]
    found = load_benchmark(own(write(tmp_path / "b_sw.jsonl", "\n".join(map(json.dumps, rows)))), "sw")
    assert [question.gold for question in found.questions] == ["true", "false", "true", "true"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p_sw.csv", "question,answer\na,1\n,2\n", r"p_sw.csv: row 3: the question is empty \(column `question`\)"),
        ("p_sw.jsonl", '{"question": "a", "answer": 1}\n{"question": "b"}\n', "row 2: the right answer is missing"),
        (
            "p_sw.jsonl",
            '{"question": {"stem": "a"}, "answer": 1}\n',
            "row 1: lilift cannot read this row: the question is not text",
        ),
        ("p_sw.csv", "id,question,answer\n7,a,1\n7,b,2\n", "row 3: the id '7' stands in two rows of the language 'sw'"),
        ("p_sw.csv", "id,question,answer\n,a,1\n", "row 2: the id is missing"),
        ("p.csv", "lang,question,answer\nklingon,a,1\n", "row 2: unknown language 'klingon'"),
        ("p.csv", "lang,question,answer\n,a,1\n", "row 2: the column `lang` is empty"),
        ("p.csv", "question,answer\na,1\n", "does not know the language of these questions; add a column `language`"),
        ("p.csv", "question,answer\n", "p.csv: the file has no rows"),
        ("p.csv", "question,answer\n,\n", "p.csv: the file has no rows"),
        ("p.csv", "", "p.csv: the file is empty"),
        ("p.xlsx", "x", "the file is a spreadsheet, which lilift does not read; save the sheet as CSV in UTF-8"),
        ("p.txt", "x", "does not read this kind of file; give a .jsonl"),
        ("p.csv", "id,lang,question,answer\n1,en,a,1\n2,en,b,2\n1,sw,a,1\n", "'sw' lacks question 2, which 'en' has"),
        ("p.csv", "id,lang,question,answer\n1,en,a,1\n1,sw,a,1\n17,sw,b,2\n", "'en' lacks question 17, which 'sw' has"),
        ("p.csv", "lang,question,answer\nen,a,1\nsw,a,5\n", "answer to question 1 is 1 in 'en' and 5 in 'sw'; .*same order"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = write(tmp_path / name, text)
    with pytest.raises(DataError, match=message) as raised:
        load_benchmarks([own(path)], ["sw"], seed=0)
    assert (raised.value.exit_code, "\n" in str(raised.value)) == (3, False)


def test_a_bad_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        read_custom(own(tmp_path / "absent"))
    with pytest.raises(DataError, match=r"the folder has no \.jsonl"):
        read_custom(own(tmp_path))
    for name in ("maths_sw.csv", "topics_sw.csv"):
        write(tmp_path / name, "question,answer\na,1\n")
    with pytest.raises(DataError, match=r"maths_sw\.csv and topics_sw\.csv both hold the language 'sw'"):
        read_custom(own(tmp_path))


def test_a_language_that_the_file_lacks_names_the_setting() -> None:
    world = BenchmarkSettings(name="world", limit=1)
    with pytest.raises(DataError, match=r"^evaluate.benchmarks\[1\].languages: .*no questions in 'yo'; choose from en, sw$"):
        load_benchmarks([world, own(EXAMPLE, languages=["sw", "yo"])], (), seed=0)
    with pytest.raises(DataError, match=r"^--languages: .*no questions in 'yo'"):
        load_benchmarks([own(EXAMPLE)], ["yo"], seed=0, setting="--languages")


def test_labels_by_likelihood_need_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot choose labels by likelihood, because its answers are numbers"):
        load_benchmark(own(EXAMPLE, labels="likelihood"), "sw")
    rows = [{"question": "a", "choices": ["x", "y"], "answer": "A"}, {"question": "b", "choices": "x|y|z", "answer": "C"}]
    mixed = write(tmp_path / "m_sw.jsonl", "\n".join(map(json.dumps, rows)))
    assert [question.labels for question in load_benchmark(own(mixed), "sw").questions] == [("A", "B"), ("A", "B", "C")]
    ranked = load_benchmark(own(mixed, labels="likelihood"), "sw")
    assert [question.labels for question in ranked.questions] == [("A", "B"), ("A", "B", "C")]
    assert ranked.by_likelihood


def labels_in_two_languages(path: Path, *, wrong: str = "") -> Path:
    rows = [
        f"{number},{language},{language} {number}?,{yes if number % 2 else no}"
        for number in range(1, 9)
        for language, yes, no in (("en", "yes", "no"), ("sw", "ndiyo", "hapana"))
    ]
    return write(path, "\n".join(["id,language,question,answer", *rows]).replace(wrong + "ndiyo", wrong + "hapana") + "\n")


def test_each_language_may_have_words_of_its_own_as_labels(tmp_path: Path) -> None:
    settings = own(labels_in_two_languages(tmp_path / "topics.csv", wrong="no such row"))
    english, swahili = load_benchmarks([settings], ["sw"], seed=0)
    assert [question.gold for question in english.questions[:2]] == ["yes", "no"]
    assert [question.gold for question in swahili.questions[:2]] == ["ndiyo", "hapana"]
    assert swahili.questions[0].labels == ("hapana", "ndiyo")
    assert swahili.questions[0].text == "sw 1?\nAnswer with one of these: hapana or ndiyo."
    assert "answers are labels of each language: en: no, yes; sw: hapana, ndiyo" in custom_lines([settings])[1]


def test_labels_of_two_languages_must_pair_in_the_same_way_in_every_question(tmp_path: Path) -> None:
    settings = own(labels_in_two_languages(tmp_path / "topics.csv", wrong="sw 3?,"))
    with pytest.raises(
        DataError, match=r"question 3 is yes in 'en' and hapana in 'sw', but question 1 shows that yes means ndiyo"
    ):
        load_benchmarks([settings], ["sw"], seed=0)


def test_the_user_learns_of_questions_with_the_same_text(tmp_path: Path) -> None:
    path = write(tmp_path / "p_sw.csv", "id,question,answer\n1,a?,7\n2,b?,8\n3,a?,7\n")
    assert custom_lines([own(path)])[-1] == "custom-p: the same text as an earlier question: 3"
