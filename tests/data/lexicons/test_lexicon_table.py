"""Lexicons on disk and merged: what is written is what is read, the same bytes each time, and priorities hold."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilift.data.languages import language, languages
from lilift.data.lexicons.dictionary_files import Pair
from lilift.data.lexicons.lexicon import Lexicon, Translation, build_lexicon
from lilift.data.lexicons.lexicon_folder import find_in_folder, languages_in, load_lexicon, load_lexicons
from lilift.data.lexicons.lexicon_merge import merge_lexicons
from lilift.data.lexicons.lexicon_table import read_lexicon, write_lexicon
from lilift.recipe.errors import DataError

ENGLISH = st.from_regex(r"[A-Za-z]{1,6}( [a-z]{1,3})?|[0-9]{1,3}|", fullmatch=True)
CELLS = st.text(alphabet=st.sampled_from("abzñæöéаӕхіњকণ্ম়नमเด็国語한-()[],;1’'\u200b\u200d \u0301"), max_size=12)
PAIRS = st.lists(st.builds(Pair, ENGLISH, st.one_of(CELLS, st.none())), max_size=12)
CODES = st.sampled_from(["sw", "os", "bn", "hi", "th", "zh", "ja", "ko", "sr", "fon"])


def built(code: str, name: str, *pairs: tuple[str, str]) -> Lexicon:
    return build_lexicon(
        [Pair(*pair) for pair in pairs], language(code), f"{name}.txt", name=name, licence=f"licence of {name}"
    )


def texts(lexicon: Lexicon, word: str) -> list[str]:
    return [item.text for item in lexicon.entries[word]]


def built_or_none(pairs: list[Pair], code: str) -> Lexicon | None:
    try:
        return build_lexicon(pairs, language(code), "any.tsv", name="any")
    except DataError:
        return None


@settings(max_examples=50)
@given(PAIRS, CODES)
def test_no_language_gets_another_scripts_words_and_nothing_is_lost_uncounted(pairs: list[Pair], code: str) -> None:
    lexicon = built_or_none(pairs, code)
    if lexicon is None:
        return
    for word, found in lexicon.entries.items():
        assert word == word.lower()
        for item in found:
            assert languages()[code].writes(item.text)
            assert item.text.casefold() != word
            assert not set(item.text) & set("()[]1\u200b")
    (source,) = lexicon.sources
    assert source.read == len(pairs)
    assert source.kept == lexicon.pairs
    weight = sum(item.weight for found in lexicon.entries.values() for item in found)
    assert weight + sum(source.dropped.values()) >= len(pairs)


@settings(max_examples=20)
@given(PAIRS, CODES)
def test_what_is_written_is_read_and_filtering_it_again_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[Pair], code: str
) -> None:
    lexicon = built_or_none(pairs, code)
    if lexicon is None:
        return
    folder = tmp_path_factory.mktemp("lexicon")
    write_lexicon(lexicon, folder / "a.parquet")
    back = read_lexicon(folder / "a.parquet", code)
    assert back == lexicon
    write_lexicon(back, folder / "b.parquet")
    assert (folder / "a.parquet").read_bytes() == (folder / "b.parquet").read_bytes()
    again = [Pair(word, item.text, item.weight) for word, found in lexicon.entries.items() for item in found]
    assert build_lexicon(again, language(code), "again").entries == lexicon.entries


@settings(max_examples=40)
@given(PAIRS, PAIRS, st.sampled_from(["first", "all"]))
def test_a_merged_lexicon_covers_what_either_covers_and_invents_nothing(first: list[Pair], second: list[Pair], keep) -> None:
    one, two = built_or_none(first, "sw"), built_or_none(second, "sw")
    if one is None or two is None:
        return
    two = Lexicon(two.language, two.entries, tuple(type(s)("other", s.location) for s in two.sources))
    merged = merge_lexicons([one, two], keep)
    assert set(merged.entries) == set(one.entries) | set(two.entries)
    for word, found in merged.entries.items():
        given = {item.text for lexicon in (one, two) for item in lexicon.entries.get(word, ())}
        assert {item.text for item in found} <= given
        if keep == "first" and word in one.entries:
            assert found == one.entries[word]
        if keep == "all":
            assert {item.text for item in found} == given


def test_what_sources_agree_on_weighs_more_and_each_has_the_same_say() -> None:
    large = built("sw", "large", *[("dog", "jibwa")] * 8, ("dog", "mbwa"), ("cat", "paka"))
    small = built("sw", "small", ("dog", "mbwa"))
    merged = merge_lexicons([large, small], "all")
    assert merged.entries["dog"] == (Translation("jibwa", 8 / 9), Translation("mbwa", 1 + 1 / 9))
    assert [item.source for item in merged.entries["dog"]] == ["large", "large"]
    assert texts(merged, "cat") == ["paka"]


def test_every_pair_knows_its_source_and_every_source_its_licence(tmp_path: Path) -> None:
    merged = merge_lexicons([built("sw", "good", ("dog", "mbwa")), built("sw", "rough", ("dog", "x"), ("cat", "paka"))])
    write_lexicon(merged, tmp_path / "sw.parquet")
    back = read_lexicon(tmp_path / "sw.parquet")
    assert {word: [item.source for item in found] for word, found in back.entries.items()} == {
        "dog": ["good"],
        "cat": ["rough"],
    }
    assert {source.name: source.licence for source in back.sources} == {"good": "licence of good", "rough": "licence of rough"}


def test_lexicons_of_two_languages_or_two_sources_of_one_name_do_not_merge() -> None:
    with pytest.raises(DataError, match="cannot merge a lexicon of Bengali with one of Swahili"):
        merge_lexicons([built("sw", "a", ("dog", "mbwa")), built("bn", "b", ("dog", "কুকুর"))])
    with pytest.raises(DataError, match="two different sources are called 'a'"):
        merge_lexicons([built("sw", "a", ("dog", "mbwa")), built("sw", "a", ("cat", "paka"), ("dog", "mbwa"))])


@pytest.mark.parametrize("cut", [3, 40, 400])
def test_a_damaged_lexicon_is_one_clear_line(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "sw.parquet"
    write_lexicon(built("sw", "a", ("dog", "mbwa")), path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"sw\.parquet: cannot read the lexicon") as caught:
        load_lexicon(str(path), "sw")
    assert "\n" not in caught.value.line()


def test_another_languages_lexicon_and_other_parquet_files_are_refused(tmp_path: Path) -> None:
    write_lexicon(built("sw", "a", ("dog", "mbwa")), tmp_path / "sw.parquet")
    with pytest.raises(DataError, match=r"is a lexicon of Swahili \(sw\), not of Bengali \(bn\)"):
        load_lexicon(str(tmp_path / "sw.parquet"), "bn")
    pq.write_table(pa.table({"question": ["?"]}), tmp_path / "bn.parquet")
    with pytest.raises(DataError, match="no lexicon of lilift's: its columns are question"):
        load_lexicon(str(tmp_path), "bn")


def test_a_folder_gives_each_language_its_lexicon_the_imported_one_first(tmp_path: Path) -> None:
    (tmp_path / "en-sw.txt").write_text("dog jibwa\n", encoding="utf-8")
    (tmp_path / "en_bn.tsv").write_text("dog\tকুকুর\n", encoding="utf-8")
    assert languages_in(tmp_path) == ["bn", "sw"]
    assert texts(load_lexicon(str(tmp_path), "sw"), "dog") == ["jibwa"]
    write_lexicon(built("sw", "a", ("dog", "mbwa")), tmp_path / "sw.parquet")
    assert find_in_folder(tmp_path, "sw") == tmp_path / "sw.parquet"
    found = load_lexicons({"sw": str(tmp_path), "bn": str(tmp_path)})
    assert (texts(found["sw"], "dog"), texts(found["bn"], "dog")) == (["mbwa"], ["কুকুর"])


def test_a_folder_that_is_not_there_yet_lacks_everything(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lexicons: has no lexicon of Swahili \(sw\); .*`lilift lexicon fetch wiktionary,"):
        load_lexicons({"sw": str(tmp_path / "lexicons")})


def test_every_language_that_a_folder_lacks_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "en-sw.txt").write_text("dog jibwa\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"has no lexicon of Bengali \(bn\), Thai \(th\);.*bn\.parquet"):
        load_lexicons(dict.fromkeys(["sw", "bn", "th"], str(tmp_path)))
