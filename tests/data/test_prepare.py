"""The data phase: what it writes is what the stages read, and it refuses what cannot teach anything."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lilift.data.batches.batching import SequenceShape
from lilift.data.batches.step_grouping import StepPlan, iterate_steps
from lilift.data.batches.tokenization import Limits, Tokenisation
from lilift.data.prepare import prepare
from lilift.data.prepared_data import ExampleFile, PreparedData, load_prepared
from lilift.data.stage_rows import align_rows, transfer_rows
from lilift.data.texts.examples import Row
from lilift.data.texts.prompt_templates import TEMPLATES
from lilift.recipe.errors import DataError, RunFolderError
from lilift.recipe.load import load_recipe
from lilift.recipe.schema import Recipe

SHAPE = SequenceShape(has_bos=True, has_eos=True, latents=None)


class Letters:
    """A token a letter, for the encoder and for the LLM; texts can be read back from the tokens."""

    unknown_id: int | None = None
    eos_token_id: int | None = 0

    def encode(self, text: str, max_tokens: int | None = None) -> list[int]:
        return [*[ord(letter) for letter in text][: None if max_tokens is None else max_tokens - 1], 0]

    def __call__(self, text: list[str], *, add_special_tokens: bool, verbose: bool) -> dict[str, list[list[int]]]:  # noqa: ARG002
        return {"input_ids": [[ord(letter) for letter in one] for one in text]}


def spoken(ids: tuple[int, ...]) -> str:
    return "".join(map(chr, ids)).rstrip("\0").strip()


def recipe(*overrides: str) -> Recipe:
    return load_recipe("tiny-cpu", ["languages=[om, qu]", "data.instructions.limit=60", *overrides])


def tokenisation(source: int = 10_000) -> Tokenisation:
    letters = Letters()
    return Tokenisation(letters, letters, TEMPLATES["plain"], "soft", SHAPE, False, Limits(source, 100_000, "drop"))


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedData:
    prepare(recipe(), tmp_path)
    return load_prepared(tmp_path)


def rows_of(source: Any, epoch: int = 0) -> list[Row]:
    return [row for row in source.rows(epoch, range(len(source))) if row is not None]


def test_what_is_prepared_is_what_is_loaded(tmp_path: Path) -> None:
    report = prepare(recipe(), tmp_path)
    data = load_prepared(tmp_path)
    assert len(data.examples) == report.instructions.kept
    assert list(data.examples)[5] == data.examples[5] == data.examples[5:6][0]
    assert set(data.lexicons) == {"om", "qu"}
    assert data.report == json.loads(json.dumps(report.as_dict()))
    assert 0.5 < data.report["lexicons"]["om"]["coverage"] <= 1
    assert any("covers" in line for line in report.lines())


def test_preparing_again_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        prepare(recipe(), tmp_path / name)
    files = {path.relative_to(tmp_path / "a"): path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert len(files) == 6
    assert files == {
        path.relative_to(tmp_path / "b"): path.read_bytes() for path in (tmp_path / "b").rglob("*") if path.is_file()
    }


def test_a_source_that_vanishes_afterwards_changes_nothing(tmp_path: Path) -> None:
    lexicon = tmp_path / "en-om.tsv"
    lexicon.write_text("has\tqaba\n", encoding="utf-8")
    prepare(recipe(f"data.lexicons={lexicon}", "languages=[om]"), tmp_path / "data")
    lexicon.unlink()
    assert load_prepared(tmp_path / "data").lexicons["om"].find("has")[0].text == "qaba"


def test_a_lexicon_without_a_word_of_the_text_is_refused_by_name(tmp_path: Path) -> None:
    lexicon = tmp_path / "en-om.tsv"
    lexicon.write_text("aardvark\twaaldiggeessa\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"en-om\.tsv: the lexicon of Oromo \(om\) has none of the words"):
        prepare(recipe(f"data.lexicons={lexicon}", "languages=[om]"), tmp_path / "data")


def test_a_lexicon_without_a_word_of_a_few_words_is_only_a_warning(tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("question,response\nnull,An SQL word.\nNone,A Python word.\n", encoding="utf-8")
    (tmp_path / "en-om.tsv").write_text("aardvark\twaaldiggeessa\n", encoding="utf-8")
    settings = (f"data.lexicons={tmp_path}/en-om.tsv", "languages=[om]", f"data.instructions.source={tmp_path}/few.csv")
    report = prepare(recipe(*settings), tmp_path / "data")
    assert report.instructions.kept == 2
    assert any("covers only 0% of the text's words" in line for line in report.lines())


def test_a_folder_of_lexicons_is_enough_and_what_it_lacks_is_named_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "en-om.txt").write_text("has qaba\n", encoding="utf-8")
    overrides = [f"data.lexicons={tmp_path}", "data.instructions.source=./nothing.jsonl"]
    with pytest.raises(DataError, match=r"has no lexicon of Afrikaans \(af\), Arabic .* Thai \(th\);"):
        prepare(recipe(*overrides, "languages=[om, mmwp-low]"), tmp_path / "data")
    prepare(recipe(f"data.lexicons={tmp_path}", "languages=[om]"), tmp_path / "data")
    assert load_prepared(tmp_path / "data").lexicons["om"].find("has")[0].text == "qaba"


def test_a_damaged_lexicon_of_a_run_is_told(tmp_path: Path) -> None:
    prepare(recipe(), tmp_path)
    path = tmp_path / "lexicons" / "om.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunFolderError, match=r"the prepared data are damaged \(lexicons/om\.parquet"):
        load_prepared(tmp_path)


@pytest.mark.parametrize("name", ["instructions.jsonl", "names.json", "report.json", "lexicons/om.parquet", "manifest.json"])
def test_one_changed_bit_is_found(tmp_path: Path, name: str) -> None:
    prepare(recipe(), tmp_path)
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunFolderError, match=r"the prepared data are damaged .*delete data/done.json"):
        load_prepared(tmp_path)


def test_files_that_are_cut_short_or_missing_are_found(tmp_path: Path) -> None:
    prepare(recipe(), tmp_path)
    path = tmp_path / "instructions.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunFolderError, match=r"the prepared data are damaged .*instructions"):
        load_prepared(tmp_path)
    path.unlink()
    with pytest.raises(RunFolderError, match=r"the prepared data are damaged .*instructions"):
        load_prepared(tmp_path)


def test_examples_stay_on_the_disk(prepared: PreparedData) -> None:
    assert isinstance(prepared.examples, ExampleFile)
    with pytest.raises(TypeError):
        pickle.dumps(prepared.examples)  # an open file, and no list of everything
    with pytest.raises(IndexError):
        prepared.examples[len(prepared.examples)]


def test_stage_2_reads_and_says_the_english_example(prepared: PreparedData) -> None:
    for row, example in zip(rows_of(transfer_rows(prepared, recipe(), tokenisation())), prepared.examples, strict=True):
        assert (spoken(row.encoder_ids), spoken(row.response_ids)) == (example.question, example.response)
        assert spoken(row.prompt_ids) == "Answer:"


def test_stage_1_reads_swapped_questions_and_says_them_in_english(prepared: PreparedData) -> None:
    source = align_rows(prepared, recipe("data.code_switching.ratios=[1.0]", "align.target=reconstruct"), tokenisation())
    for row, example in zip(rows_of(source), prepared.examples, strict=True):
        assert spoken(row.response_ids) == example.question
        assert spoken(row.encoder_ids) != example.question
        assert spoken(row.prompt_ids) == "English:"


def test_swaps_are_drawn_anew_in_each_epoch_and_repeat_in_each_run(prepared: PreparedData) -> None:
    first, again = (align_rows(prepared, recipe(), tokenisation()) for _ in range(2))
    assert rows_of(first, 0) == rows_of(again, 0)
    assert rows_of(first, 0) != rows_of(first, 1)
    # One at a time or all at once, in whatever order.
    assert again.rows(1, [7, 3]) == [first.rows(1, [7])[0], first.rows(1, [3])[0]]


def test_targets_are_mixed_as_the_recipe_says(prepared: PreparedData) -> None:
    source = align_rows(prepared, recipe("align.target={reconstruct: 3, respond: 1}"), tokenisation())
    kinds = Counter(source.task(epoch, index).kind for epoch in range(20) for index in range(len(source)))
    assert abs(kinds["respond"] / kinds.total() - 0.25) < 0.06
    responses = {index for index in range(len(source)) if source.task(0, index).kind == "respond"}
    assert responses != {index for index in range(len(source)) if source.task(1, index).kind == "respond"}
    index = min(responses)
    assert source.task(0, index).target == prepared.examples[index].response


def test_lengths_are_measured_without_counting_twice(prepared: PreparedData) -> None:
    maker = tokenisation(source=90)
    source = transfer_rows(prepared, recipe(), maker)
    report = source.lengths()
    long = sum(len(example.question) + 1 > 90 for example in prepared.examples)
    assert 0 < long < len(source)
    assert (report.read, report.kept, report.dropped_source) == (len(source), len(source) - long, long)
    assert maker.report.read == 0


def test_stage_rows_feed_the_steps(prepared: PreparedData) -> None:
    source = transfer_rows(prepared, recipe(), tokenisation())
    steps = iterate_steps(source, StepPlan(SHAPE, False, 2000, 1000, seed=0))
    seen: list[int] = []
    for step in steps:
        if step.position.epoch:
            break
        seen += [index for ids in step.row_ids for index in ids]
    assert sorted(seen) == list(range(len(source)))
    assert source.row_name(3) == prepared.examples[3].id


def test_line_breaks_that_the_encoder_reads_as_spaces_are_counted(prepared: PreparedData) -> None:
    class Flat(Letters):
        def encode(self, text: str, max_tokens: int | None = None) -> list[int]:
            return super().encode(" ".join(text.split()), max_tokens)

    examples = [replace(prepared.examples[0], question=text) for text in ("a\nb", "a b", "a\n\nb", " a b\n")]
    for encoder, count in ((Flat(), 2), (Letters(), 0)):
        maker = replace(tokenisation(), encoder=encoder)
        assert transfer_rows(replace(prepared, examples=examples), recipe(), maker).flattened() == count


def test_scripts_that_the_encoder_cannot_spell_are_told(prepared: PreparedData) -> None:
    class Halves(Letters):
        unknown_id = 1

        def encode(self, text: str, max_tokens: int | None = None) -> list[int]:  # noqa: ARG002
            return [1 if letter in "'q" else ord(letter) for letter in text] + [0]

    letters = Halves()
    maker = Tokenisation(letters, Letters(), TEMPLATES["plain"], "soft", SHAPE, False, Limits(10_000, 100_000, "drop"))
    source = align_rows(prepared, recipe("data.code_switching.ratios=[1.0]"), maker)
    text = "".join(source.task(0, index).source for index in range(len(source)))
    (latin,) = source.unreadable().values()
    assert latin == pytest.approx(len([x for x in text if x in "'q"]) / len("".join(text.split())), rel=0.2)
    assert align_rows(prepared, recipe(), tokenisation()).unreadable() == {}


def test_a_lexicon_that_covers_little_or_was_turned_is_a_warning_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "sw.tsv").write_text("maji\twater\nnyumba\thouse\nmtu\tman\nmto\triver\nsiku\tday\n", encoding="utf-8")
    rows = [
        {"question": f"The old man walks slowly for {number} days to the river.", "response": f"{number}."}
        for number in range(30)
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    given = load_recipe(
        "tiny-cpu",
        [f"data.lexicons={tmp_path}", "languages=[Swahili]", f"data.instructions.source={tmp_path}/train.jsonl"],
    )
    lines = prepare(given, tmp_path / "run").lines()
    told = [line for line in lines if "warning" in line]
    assert any("lexicon sw (Swahili):" in line for line in lines)
    assert "English on the right" in told[0]
    assert "covers only 30% of the text's words" in told[1]
    assert "lilift lexicon fetch wiktionary,afromt --languages sw" in told[1]
    assert load_prepared(tmp_path / "run").report["lexicons"]["sw"]["warnings"] == [
        line.strip().removeprefix("warning: ") for line in told
    ]
