"""The table of languages against the facts it was made from."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from lilift.data.languages import NO_SCRIPT, language, languages, script_of
from lilift.data.world import WORLD_LANGUAGES
from lilift.recipe.errors import DataError
from lilift.recipe.language_groups import LANGUAGE_GROUPS
from lilift.recipe.names.language_names import read_language


def test_the_48_languages_of_mmwp_have_their_tier_and_flores_code(shared_data: Path) -> None:
    lines = (shared_data / "mmwp" / "languages.tsv").read_text(encoding="utf-8").splitlines()[1:]
    for code, _, flores, tier, *_ in (line.split("\t") for line in lines):
        known = language(code)
        assert (known.flores, known.tier) == (flores, tier)
        assert known.scripts == (flores.split("_")[1],)
    tiers = Counter(known.tier for known in languages().values() if known.tier)
    assert tiers == {"high": 10, "medium": 17, "low": 21}


def test_the_groups_of_recipes_are_the_tiers_of_the_table() -> None:
    for tier in ("low", "medium", "high"):
        coded = {known.code for known in languages().values() if known.tier == tier and known.code != "en"}
        assert set(LANGUAGE_GROUPS[f"mmwp-{tier}"]) == coded


def test_names_and_codes_in_any_spelling_are_known() -> None:
    for written in ("sw", "SW", "swa", "swh", "swh_Latn", "Swahili", "kiswahili"):
        assert language(written).code == "sw"


def test_the_table_of_names_has_the_languages_of_this_table() -> None:
    for code, known in languages().items():
        assert read_language(code) == (code, read_language(code).remark), code  # type: ignore[union-attr]
        assert code in {found.code for name in (known.name, code) if (found := read_language(name))}
        if known.flores:
            assert read_language(known.flores).code == code  # type: ignore[union-attr]


def test_every_language_of_the_world_is_known() -> None:
    for code, world_language in WORLD_LANGUAGES.items():
        assert language(code).name == world_language.name


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("Swahilli", "did you mean 'sw', Swahili"),
        ("jp", "the country code of Japan; did you mean 'ja', Japanese"),
        ("Tanzania", "Tanzania is a country; did you mean 'sw', Swahili"),
        ("Kurdish", "Kurmanji"),
        ("fy", "fy is Western Frisian, which lilift does not know"),
    ],
)
def test_an_unknown_language_is_one_line_with_a_hint(wrong: str, hint: str) -> None:
    with pytest.raises(DataError, match=f"unknown language '{wrong}'.*{hint}"):
        language(wrong)


@pytest.mark.parametrize(
    ("code", "text", "written"),
    [
        ("hi", "नमस्ते", True),
        ("hi", "नमस्ते ok", False),
        ("ja", "日本のコーヒー", True),  # the long-vowel mark is shared by scripts
        ("zh", "苹果", True),
        ("ru", "яблоко", True),
        ("ru", "jabloko", False),
        ("qu", "ñawi", True),
        ("to", "ʻapele", True),  # the glottal stop is a letter of no script
        ("sr", "jabuka", False),
        ("th", "๑๒", False),  # digits alone are no word
    ],
)
def test_a_language_knows_its_own_script(code: str, text: str, written: bool) -> None:
    assert language(code).writes(text) is written


@pytest.mark.parametrize(
    ("text", "script"), [("12 ก", "Thai"), ("(cat", "Latn"), ("१२", "Deva"), ("+ 12.", NO_SCRIPT), ("", NO_SCRIPT)]
)
def test_script_of_a_text_is_that_of_its_first_letter(text: str, script: str) -> None:
    assert script_of(text) == script
