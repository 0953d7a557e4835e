"""Rows of continued pretraining: together they are the text, and no token is lost, doubled or from another language."""

from __future__ import annotations

from pathlib import Path

import pytest

from lilift.data.batches.batching import SequenceShape
from lilift.data.batches.tokenization import Limits, Tokenisation
from lilift.data.monolingual_rows import BLOCK, MonolingualRows, monolingual_rows
from lilift.data.prepare import prepare
from lilift.data.prepared_data import load_prepared
from lilift.data.texts.examples import Row
from lilift.data.texts.prompt_templates import TEMPLATES
from lilift.recipe.errors import DataError
from lilift.recipe.load import load_recipe
from tests.data.test_prepare import Letters

ALONE = SequenceShape(has_bos=False, has_eos=False, latents=0)
CONTINUED = [
    "languages=[om, qu]",
    "encoder.model=none",
    "alignment.layout=text",
    "align.trains=adapter",
    "align.texts=[monolingual]",
    "transfer.control=false",
    "evaluate.alignment=null",
    "data.instructions.limit=20",
]
OROMO = ["Mucaan kitaaba dubbisa.", "Abbaan ni hojjeta.", "", "Haati bishaan fidde."]
QUECHUA = ["Wawaqa qillqata ñawinchan."]


def rows_of(folder: Path, *, longest: int = 20, bos: bool = True, tokens: int | None = None) -> MonolingualRows:
    for code, lines in (("om", OROMO), ("qu", QUECHUA)):
        (folder / f"{code}.txt").write_text("\n".join(lines), encoding="utf-8")
    budget = "" if tokens is None else f", tokens: {tokens}"
    recipe = load_recipe("tiny-cpu", [*CONTINUED, f"data.monolingual={{files: '{folder}/{{language}}.txt'{budget}}}"])
    prepare(recipe, folder / "data")
    letters = Letters()
    tokenisation = Tokenisation(letters, letters, TEMPLATES["plain"], "text", ALONE, bos, Limits(9, longest, "drop"))
    return monolingual_rows(load_prepared(folder / "data"), recipe, tokenisation)


def read(rows: list[Row | None]) -> str:
    return "".join(chr(token) for row in rows if row is not None for token in (*row.prompt_ids, *row.response_ids))


@pytest.mark.parametrize("bos", [True, False])
def test_the_rows_are_the_text(bos: bool, tmp_path: Path) -> None:
    rows = rows_of(tmp_path, bos=bos)
    every = rows.rows(0, range(len(rows)))
    assert read(every) == "\n".join(OROMO[:2]) + "\0" + OROMO[3] + "\0" + QUECHUA[0] + "\0"
    longest = 20 - bos
    assert {len(row.prompt_ids) + len(row.response_ids) for row in every[:-2] if row} <= {longest, 64 % longest}
    assert all(row is not None and not row.encoder_ids and len(row.prompt_ids) == (0 if bos else 1) for row in every)
    assert rows.lengths().as_dict() | {"kept": len(rows)} == rows.lengths().as_dict()
    assert rows.row_name(len(rows) - 1).startswith("text in qu")


def test_the_budget_is_shared_by_the_languages(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, tokens=16)
    assert read(rows.rows(0, range(len(rows)))) == OROMO[0][:8] + QUECHUA[0][:8]


def test_long_documents_lose_nothing_between_the_pieces_that_are_tokenised(tmp_path: Path) -> None:
    lines = [f"jecha dheeraa lakkoofsa {number}" for number in range(BLOCK // 10)]
    (tmp_path / "om.txt").write_text("\n".join(lines), encoding="utf-8")
    settings = [*CONTINUED, "languages=[om]", f"data.monolingual.files={tmp_path}/{{language}}.txt"]
    recipe = load_recipe("tiny-cpu", settings)
    prepare(recipe, tmp_path / "data")
    letters = Letters()
    tokenisation = Tokenisation(letters, letters, TEMPLATES["plain"], "text", ALONE, True, Limits(9, 500, "drop"))
    rows = monolingual_rows(load_prepared(tmp_path / "data"), recipe, tokenisation)
    assert read(rows.rows(0, range(len(rows)))) == "\n".join(lines) + "\0"


def test_a_text_shorter_than_a_row_can_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too short for a single row"):
        rows_of(tmp_path, tokens=2)
