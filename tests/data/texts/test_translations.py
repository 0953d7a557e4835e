"""Parallel sentences and translated questions: read in every form, and made into the rows of the stage that asks for them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from lilift.data.align_tasks import align_tasks
from lilift.data.prepare import prepare
from lilift.data.prepared_data import load_prepared
from lilift.data.stage_rows import align_rows, transfer_rows
from lilift.data.texts.contamination import HeldOut
from lilift.data.texts.examples import TranslatedExample
from lilift.data.texts.translations import load_translations
from lilift.export.server.ratings import Ratings
from lilift.recipe.errors import DataError, RecipeError
from lilift.recipe.load import load_recipe
from tests.data.test_prepare import rows_of, spoken, tokenisation

ROWS = [("How many apples?", "Matofaa mangapi?", "3 + 4 = <<3+4=7>>7\n#### 7"), ("The dog.", "Mbwa.", "")]


def jsonl(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def tsv(path: Path, rows: list[tuple[str, ...]] | None = None) -> str:
    lines = ["\t".join(row).replace("\n", " ") for row in rows or [row[:2] for row in ROWS]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    "names", [("english", "sw"), ("en", "swahili"), ("question", "translation"), ("sentence_eng_Latn", "sentence_swh_Latn")]
)
def test_columns_are_recognised(tmp_path: Path, names: tuple[str, str]) -> None:
    source = jsonl(tmp_path / "a.jsonl", [{names[0]: en, names[1]: sw, "answer": answer} for en, sw, answer in ROWS])
    found, report = load_translations(source, "sw", needs_response=False)
    assert found == [
        TranslatedExample("a.jsonl:1", ROWS[0][0], "3 + 4 = 7\nThe answer is 7.", "7", ROWS[0][1], "sw"),
        TranslatedExample("a.jsonl:2", ROWS[1][0], "", None, ROWS[1][1], "sw"),
    ]
    assert (report.read, report.kept, report.dropped) == (2, 2, {})


def test_lines_with_tabs_and_the_objects_of_hub_data_sets_are_read(tmp_path: Path) -> None:
    expected = [(en, sw) for en, sw, _ in ROWS]
    objects = jsonl(tmp_path / "b.jsonl", [{"translation": {"en": en, "sw": sw}} for en, sw in expected])
    for source in (tsv(tmp_path / "a.tsv"), objects):
        found, _ = load_translations(source, "sw", needs_response=False)
        assert [(example.question, example.text) for example in found] == expected


EXPECTED = [(en, sw) for en, sw, _ in ROWS]


def pairs_of(location: Path | str, code: str = "sw") -> list[tuple[str, str]]:
    found, _ = load_translations(str(location), code, needs_response=False)
    return [(example.question, example.text) for example in found]


@pytest.mark.parametrize("english", ["en", "eng_Latn"])
@pytest.mark.parametrize("own", ["sw", "swh_Latn", "swh"])
def test_two_files_with_the_same_lines_are_read_together(tmp_path: Path, english: str, own: str) -> None:
    (tmp_path / f"train.{english}").write_text("".join(en + "\n" for en, _ in EXPECTED), encoding="utf-8")
    (tmp_path / f"train.{own}").write_text("".join(sw + "\r\n" for _, sw in EXPECTED), encoding="utf-8")
    (tmp_path / "train.fr").write_text("Une pomme.\n", encoding="utf-8")
    for location in (tmp_path, tmp_path / f"train.{own}", tmp_path / f"train.{english}"):
        assert pairs_of(location) == EXPECTED


def test_aligned_files_may_be_compressed_and_several(tmp_path: Path) -> None:
    for name, (en, sw) in zip(("a.en-sw", "b.en-sw"), EXPECTED, strict=True):
        (tmp_path / f"{name}.en.gz").write_bytes(gzip.compress(f"{en}\n".encode()))
        (tmp_path / f"{name}.sw").write_text(f"{sw}\n", encoding="utf-8")
    assert pairs_of(tmp_path) == EXPECTED
    assert pairs_of(tmp_path / "b.en-sw.sw") == EXPECTED[1:]


def test_an_empty_line_of_aligned_files_is_a_row_and_a_missing_one_an_error(tmp_path: Path) -> None:
    (tmp_path / "train.en").write_text("One.\n\nThree.\n", encoding="utf-8")
    (tmp_path / "train.sw").write_text("Moja.\nMbili.\nTatu.\n", encoding="utf-8")
    found, report = load_translations(str(tmp_path), "sw", needs_response=False)
    assert [example.id for example in found] == ["train.sw:1", "train.sw:3"]
    assert report.dropped == {"empty English": 1}
    (tmp_path / "train.sw").write_text("Moja.\nMbili.\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"train\.en: line 3 has no counterpart, because train\.sw ends at line 2"):
        pairs_of(tmp_path)


@pytest.mark.parametrize("name", ["a.tsv", "a.txt"])
def test_a_file_with_tabs_may_have_a_header_and_a_spreadsheets_encoding(tmp_path: Path, name: str) -> None:
    lines = ["sw\tenglish\tresponse", "Mbwa.\tThe dog.\t", 'Matofaa mangapi?\tHow many apples?\t"Three,\nor so"']
    (tmp_path / name).write_bytes("\r\n".join(lines).encode("utf-16"))
    found, report = load_translations(str(tmp_path / name), "sw", needs_response=True)
    assert [(example.question, example.text, example.response) for example in found] == [
        ("How many apples?", "Matofaa mangapi?", "Three,\nor so")
    ]
    assert report.dropped == {"no response": 1}


def test_cells_are_texts_letter_for_letter_and_bad_ones_are_counted(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"english": None},
        {"english": "Nought.", "sw": "sifuri", "answer": 0},
        {"english": "Seven.", "sw": "saba", "answer": "007"},
        {"english": "List.", "sw": ["a"], "answer": "1"},
    ]
    found, report = load_translations(jsonl(tmp_path / "a.jsonl", rows), "sw", needs_response=False)
    assert [example.response for example in found] == ["0", "007"]
    assert report.dropped == {"empty English": 1, "translation is not text": 1}


def test_every_row_is_kept_or_counted_with_its_reason(tmp_path: Path) -> None:
    rows = [("One dog.", "Mbwa mmoja.", "1"), ("One dog.", "Mbwa mmoja.", "1"), ("Two.", "Два.", "2"), ("", "Tatu.", "3")]
    source = tsv(tmp_path / "a.tsv", [*rows, ("Four.", "", "4"), ("Five.", "Tano.", ""), ("Six?", "Sita?", "6")])
    found, report = load_translations(source, "sw", needs_response=True, held_out=HeldOut({"mgsm": ["six"]}))
    assert [example.text for example in found] == ["Mbwa mmoja."]
    assert report.dropped == {
        "empty English": 1,
        "empty translation": 1,
        "in mgsm": 1,
        "no response": 1,
        "repeated": 1,
        "wrong script": 1,
    }


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.tsv", "one\ttwo\tthree\tfour\n", r"a\.tsv:1: the line has 4 columns"),
        ("a.tsv", "Hello.\tПривет.\n", "none of 1 translated rows is usable for Swahili .wrong script 1"),
        ("a.jsonl", '{"english": "a", "fr": "b"}\n', "cannot tell English from Swahili among the columns english, fr"),
        ("b.jsonl", None, "no such file or folder; check data.translations"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, name: str, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        load_translations(str(tmp_path / name), "sw", needs_response=False)


def overrides(tmp_path: Path, *more: str) -> list[str]:
    source = tsv(tmp_path / "t.tsv", [("How many?", "Meeqa?", "Seven."), ("The dog.", "Saree.", "Bark.")])
    return ["languages=[om]", "data.instructions.limit=20", f"data.translations={source}", *more]


def test_stage_1_reads_parallel_sentences_and_says_their_english(tmp_path: Path) -> None:
    recipe = load_recipe(
        "tiny-cpu", overrides(tmp_path, "align.texts=[translated]", "align.target=reconstruct", "data.lexicons={}")
    )
    prepare(recipe, tmp_path / "data")
    prepared = load_prepared(tmp_path / "data")
    assert prepared.lexicons == {}
    rows = rows_of(align_rows(prepared, recipe, tokenisation()))
    assert [(spoken(row.encoder_ids), spoken(row.prompt_ids), spoken(row.response_ids)) for row in rows] == [
        ("Meeqa?", "English:", "How many?"),
        ("Saree.", "English:", "The dog."),
    ]


def test_both_kinds_of_texts_follow_one_another_in_both_stages(tmp_path: Path) -> None:
    texts = ("align.texts=[switched, translated]", "transfer.texts=[english, translated]", "align.target=respond")
    recipe = load_recipe("tiny-cpu", overrides(tmp_path, *texts))
    prepare(recipe, tmp_path / "data")
    prepared = load_prepared(tmp_path / "data")
    count = len(prepared.examples)
    align, transfer = align_rows(prepared, recipe, tokenisation()), transfer_rows(prepared, recipe, tokenisation())
    assert len(align) == len(transfer) == count + 2
    tasks = align_tasks(prepared, recipe)
    assert align.task(1, 3) == tasks.task(prepared.examples[3], 1, 3)[0]
    assert (transfer.task(0, 3).source, transfer.row_name(3)) == (prepared.examples[3].question, prepared.examples[3].id)
    for rows in (align, transfer):
        last = rows.task(0, count + 1)
        assert (last.source, last.target, last.kind, rows.row_name(count + 1)) == ("Saree.", "Bark.", "respond", "t.tsv:2")


def test_stage_1_reads_english_as_it_is(tmp_path: Path) -> None:
    """LangBridge's only stage: the alignment layer learns the task itself, without a dictionary."""
    recipe = load_recipe(
        "tiny-cpu",
        overrides(tmp_path, "align.texts=[english]", "align.target=respond", "data.lexicons={}", "data.translations={}"),
    )
    prepare(recipe, tmp_path / "data")
    prepared = load_prepared(tmp_path / "data")
    rows = align_rows(prepared, recipe, tokenisation())
    assert [(task.source, task.target, task.kind) for task in (rows.task(0, index) for index in range(len(rows)))] == [
        (example.question, example.response, "respond") for example in prepared.examples
    ]


def test_a_recipe_that_reads_translations_names_them_for_every_language() -> None:
    with pytest.raises(RecipeError, match="the recipe names no translated texts for language 'qu'"):
        load_recipe("tiny-cpu", ["languages=[om, qu]", "data.translations={om: ./a.tsv}", "transfer.texts=[translated]"])
    with pytest.raises(RecipeError, match="the recipe names no lexicon for language 'om'"):
        load_recipe("tiny-cpu", ["data.lexicons={}"])


def test_rows_of_other_languages_are_left_out_by_the_language_that_they_name(tmp_path: Path) -> None:
    rows = [("c", "maji", "sw"), ("d", "Wasser", "Deutsch"), ("e", "nyumba", "swh_Latn"), ("f", "mti", ""), ("g", "w", "en")]
    lines = [json.dumps({"source": english, "target": text, "lang": name}) for english, text, name in rows]
    (tmp_path / "mixed.jsonl").write_text("\n".join(lines), encoding="utf-8")
    kept, report = load_translations(str(tmp_path / "mixed.jsonl"), "sw", needs_response=False)
    assert [example.text for example in kept] == ["maji", "nyumba", "mti"]
    assert report.dropped == {"in another language": 2}


def test_a_response_in_the_language_is_what_the_llm_learns_to_write(tmp_path: Path) -> None:
    """As `lilift data translate --columns question,response` writes it."""
    line = {"question": "Matofaa mangapi?", "response": "Jibu ni 7.", "english": "How many apples?", "answer": "7"}
    [found], _ = load_translations(jsonl(tmp_path / "sw.jsonl", [line]), "sw", needs_response=True)
    assert (found.source, found.question, found.response) == ("Matofaa mangapi?", "How many apples?", "Jibu ni 7.")


def test_rated_answers_to_questions_in_the_language_teach_stage_2(tmp_path: Path) -> None:
    ratings = Ratings(tmp_path / "ratings.jsonl", "mine")
    for question, answer, right, correction in (
        ("Juma ana maembe 3 na ananunua 4. Ana maembe mangapi?", "3 + 4 = 7. The answer is 7.", True, ""),
        ("Asha ana vitabu 9 na anatoa 2. Ana vitabu vingapi?", "The answer is 11.", False, "The answer is 7."),
        ("Basi lina watu 5. Watu wangapi?", "I do not know.", False, ""),
    ):
        ratings.add({"question": question, "answer": answer, "right": right, "correction": correction})
    location = str(tmp_path / "ratings.jsonl")
    found, report = load_translations(location, "sw", needs_response=True, needs_english=False)
    assert [(one.text, one.response, one.question) for one in found] == [
        ("Juma ana maembe 3 na ananunua 4. Ana maembe mangapi?", "3 + 4 = 7. The answer is 7.", ""),
        ("Asha ana vitabu 9 na anatoa 2. Ana vitabu vingapi?", "The answer is 7.", ""),
    ]
    assert report.dropped == {"no response": 1}
    with pytest.raises(DataError, match="empty English 3"):  # stage 1 would have to write their English
        load_translations(location, "sw", needs_response=False)
    held_out = HeldOut({"custom-mine": [found[0].text]})
    assert load_translations(location, "sw", needs_response=True, needs_english=False, held_out=held_out)[1].dropped == {
        "in custom-mine": 1,
        "no response": 1,
    }
