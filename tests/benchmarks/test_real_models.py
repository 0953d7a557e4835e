"""The page about real models shows the committed result, and the experiment reads its data in both forms."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from benchmarks.real_models.real_data import LOW, SIB200, dictionaries, sentences
from benchmarks.real_models.real_models import PAGE, page_with, summarise
from benchmarks.shared.result_files import FOLDER
from lilift.evaluate.benchmarks.benchmark_fetch import public_files


def test_the_table_is_that_of_the_result() -> None:
    result = json.loads((FOLDER / "real_models.json").read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    assert page_with(result["table"], text) == text


def test_the_result_follows_from_its_right_and_wrong_answers() -> None:
    result = json.loads((FOLDER / "real_models.json").read_text(encoding="utf-8"))
    assert summarise(result["runs"]) == result["table"]


def test_published_files_and_tables_of_all_splits_give_the_same_sentences(tmp_path: Path) -> None:
    published = tmp_path / "sib200" / "swh_Latn" / "test.tsv"
    published.parent.mkdir(parents=True)
    published.write_text('index_id\tcategory\ttext\n7\tsports\t"Alisema ""ndiyo""."\n', encoding="utf-8")
    tables = tmp_path / "other" / "sib200_flores_parallel"
    tables.mkdir(parents=True)
    rows = 'split\tindex_id\tcategory\ttext\ntrain\t6\ttravel\tSafari.\ntest\t7\tsports\tAlisema "ndiyo".\n'
    (tables / "sw.tsv.gz").write_bytes(gzip.compress(rows.encode()))
    (one,), (other,) = sentences(tmp_path, "sw", "test"), sentences(tmp_path / "other", "sw", "test")
    assert one == {"index_id": "7", "category": "sports", "text": 'Alisema "ndiyo".'}
    assert other == {"split": "test", **one}


def test_every_language_of_the_experiment_has_a_test_file_and_a_dictionary() -> None:
    files = {file.name for file in public_files("sib200")}
    assert {f"{SIB200[code]}/test.tsv" for code in ("en", *LOW)} <= files
    assert set(dictionaries(Path("nowhere"))) == set(LOW)
