"""Lexicons: published formats are read, faults are filtered and counted, and files that cannot be used say why."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from lilift.data.languages import language
from lilift.data.lexicons.coverage import low_coverage
from lilift.data.lexicons.dictionary_files import Pair
from lilift.data.lexicons.english_forms import count_words
from lilift.data.lexicons.lexicon import Coverage, Lexicon, Translation, build_lexicon
from lilift.data.lexicons.lexicon_folder import load_lexicon
from lilift.data.lexicons.pair_filters import Filters
from lilift.data.lexicons.swadesh import SWADESH_110, SWADESH_207
from lilift.data.world import WORLD_LANGUAGES
from lilift.recipe.errors import DataError


def built(*pairs: tuple[str, str], code: str = "sw") -> Lexicon:
    return build_lexicon([Pair(*pair) for pair in pairs], language(code), "test.tsv")


def texts(lexicon: Lexicon, word: str) -> list[str]:
    return [translation.text for translation in lexicon.find(word)]


@pytest.fixture
def write(tmp_path: Path):
    def written(content: str | bytes, name: str = "en-sw.tsv") -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return str(path)

    return written


def test_every_reason_for_leaving_a_pair_out_is_counted() -> None:
    lexicon = built(
        ("dog", "mbwa"),
        ("hotel", "Hotel"),
        ("cat", "кошка"),
        ("the", ""),
        ("a little", "kidogo"),
        ("2024", "mwaka"),
        ("mole", "mnyama mdogo anayeishi chini ya ardhi"),
        ("go", "-enda"),
        ("surname", "jin(a)"),
        ("day", "siku 1"),
    )
    assert dict(lexicon.entries) == {"dog": (Translation("mbwa", 1.0),)}
    assert lexicon.pairs == 1
    assert lexicon.dropped == {
        "affix": 1,
        "brackets": 1,
        "digits": 1,
        "empty": 1,
        "identical": 1,
        "not an English word": 1,
        "several English words": 1,
        "too many words": 1,
        "wrong script": 1,
    }


def test_notes_go_alternatives_part_and_repetition_is_weight() -> None:
    lexicon = built(("see", "ona (verb), tazama; [old] angalia"), ("see", "ona"), ("Dad", "Baba"), ("house", "Nyumba"))
    assert lexicon.entries["see"] == (Translation("ona", 2.0), Translation("tazama", 1.0), Translation("angalia", 1.0))
    assert texts(lexicon, "dad") == ["baba"]  # a capital of the English entry's making
    assert texts(lexicon, "house") == ["Nyumba"]  # its own, as German nouns have


def test_inflected_words_are_found_by_their_dictionary_form_unless_listed_themselves() -> None:
    lexicon = built(("buy", "nunua"), ("apple", "tofaa"), ("apples", "matofaa"), ("baking", "kuoka"))
    assert texts(lexicon, "bought") == ["nunua"]
    assert texts(lexicon, "apples") == ["matofaa"]
    assert texts(lexicon, "apple's") == ["tofaa"]
    assert texts(lexicon, "baked") == []


def test_composed_and_decomposed_letters_are_the_same_translation() -> None:
    lexicon = built(("eye", "n\u0303awi"), ("eye", "\u00f1awi"), code="qu")
    assert lexicon.entries["eye"] == (Translation("ñawi", 2.0),)


def test_coverage_is_by_how_often_words_occur_names_left_out() -> None:
    coverage = built(("dog", "mbwa"), ("see", "ona")).coverage(count_words(["Dogs saw a dog.", "Then Dogo slept"]))
    assert (coverage.tokens, coverage.covered) == (6, 3)
    assert coverage.share == 0.5


def test_look_alike_letters_of_another_script_are_replaced_only_within_native_words() -> None:
    ossetian = built(("tree", "бирæ"), ("star", "ӕстъалы"), ("pool", "pool хи"), ("bowl", "bowl"), code="os")
    assert texts(ossetian, "tree") == ["бирӕ"]
    assert texts(ossetian, "star") == ["ӕстъалы"]
    assert ossetian.dropped == {"identical": 1, "wrong script": 1}
    assert ossetian.sources[0].mended == 1
    assert texts(built(("person", "mε"), code="fon"), "person") == ["mɛ"]


def test_html_entities_and_edges_of_english_entries_are_no_part_of_the_word() -> None:
    lexicon = built(("I&apos;m", "nina"), ("who?", "nani"), ("rock &amp; roll", "muziki"))
    assert texts(lexicon, "i'm") == ["nina"]
    assert texts(lexicon, "who") == ["nani"]
    assert lexicon.dropped == {"several English words": 1}


def test_what_is_kept_where_tastes_differ_is_the_users_choice() -> None:
    pairs = [Pair("hotel", "hotel"), Pair("mole", "mnyama mdogo wa chini"), Pair("dog", "mbwa")]
    wide = build_lexicon(pairs, language("sw"), "test", filters=Filters(most_words=4, keep_identical=True))
    assert (wide.pairs, wide.dropped) == (3, {})
    narrow = build_lexicon(pairs, language("sw"), "test", filters=Filters(most_words=1))
    assert (narrow.pairs, narrow.dropped) == (1, {"identical": 1, "too many words": 1})


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("dog mbwa\ncat paka\n", "muse.txt"),
        ("dog\tmbwa\r\ncat\tpaka\r\n", "windows.tsv"),
        ("\ufeffdog\tmbwa\ncat\tpaka", "bom.tsv"),
        ("English\tSwahili\r\ndog\tmbwa\r\ncat\tpaka\r\n".encode("utf-16"), "Unicode Text of a spreadsheet.txt"),
        ("en\tfr\tsw\ndog\tchien\tmbwa\ncat\tchat\tpaka\n", "table.tsv"),
        ("english\ttranslation\ndog\tmbwa\ncat\tpaka\n", "headed.tsv"),
        (gzip.compress(b"dog\tmbwa\ncat\tpaka\n", mtime=0), "packed-without-suffix"),
        ("dog\tmbwa\na line of another kind\ncat\tpaka\n", "one-bad-line.tsv"),
    ],
)
def test_the_format_is_recognised_from_the_content(write, content: str | bytes, name: str) -> None:
    lexicon = load_lexicon(write(content, name), "sw")
    assert texts(lexicon, "dog") == ["mbwa"]
    assert texts(lexicon, "cat") == ["paka"]
    assert lexicon.dropped == ({"malformed line": 1} if "bad" in name else {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"dog\tmbwa\n" + "café\tkahawa\n".encode("latin-1"), r"en-sw\.tsv:2: the line is not UTF-8 text"),
        (gzip.compress(b"dog\tmbwa\n" * 5000, mtime=0)[:40], r"en-sw\.tsv:\d+: the gzip file is cut short or damaged"),
        (b"x" * (1 << 21), r"en-sw\.tsv:1: a line is longer than 1 MiB"),
        ("", r"en-sw\.tsv: the file is empty"),
        ("# words\n", "no usable pair for Swahili"),
        ("dog\tdog\ncat\tcat\n", "no usable pair for Swahili .* identical 2"),
        ("one two three\nfour five six\n", r"en-sw\.tsv:1: 2 of 2 lines are not pairs"),
        ("just\nwords\n", r"en-sw\.tsv:1: 2 of 2 lines are not pairs"),
        ("en\tfr\tde\ndog\tchien\tHund\n", r"en-sw\.tsv:1: the table has no column for language 'sw'.*en, fr, de"),
        ("dog\tкот\n" * 30 + "cat\tpaka\n", "30 of 31 translations are not written as Swahili is"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_line(write, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_lexicon(write(content), "sw")
    assert "\n" not in caught.value.line()


def test_a_missing_file_and_an_unknown_language_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.txt: cannot read the file \(No such file or directory\)"):
        load_lexicon(str(tmp_path / "nothing.txt"), "sw")
    with pytest.raises(DataError, match="did you mean 'sw'"):
        load_lexicon(str(tmp_path / "nothing.txt"), "Swahilli")


@pytest.mark.parametrize("code", sorted(WORLD_LANGUAGES))
def test_the_worlds_lexicons_lose_next_to_nothing(code: str) -> None:
    lexicon = load_lexicon("world", code)
    assert len(lexicon.entries) > 500
    assert sum(lexicon.dropped.values()) < 10


MUSE = ("af", "bn", "de", "hi", "ja", "mk", "ta", "th", "zh")
WIKTIONARY = {"swahili": "sw", "telugu": "te", "thai": "th", "luxembourgish": "lb", "kannada": "kn", "arabic": "ar"}


@pytest.mark.parametrize(
    ("path", "code", "least"),
    [
        *((f"lexicon_muse/en-{code}.txt.gz", code, 5000) for code in MUSE),
        *((f"lexicon_wechsel_wiktionary/{name}.txt.gz", code, 800) for name, code in WIKTIONARY.items()),
        ("lexicon_afromt/en-sw.txt.gz", "sw", 9000),
        ("lexicon_afromt/en-af.txt.gz", "af", 11000),
        *((f"lexicon_gatitos/en_{code}.tsv.gz", code, 3300) for code in ("es", "fr", "hi")),
        *(("lexicon_frekwencja_5050/common_words_48langs.tsv.gz", code, 3800) for code in ("sw", "hi", "lb")),
    ],
)
def test_published_dictionaries_give_only_words_of_the_language(shared_data: Path, path: str, code: str, least: int) -> None:
    lexicon = load_lexicon(str(shared_data / path), code)
    assert len(lexicon.entries) >= least
    known = language(code)
    for word, found in lexicon.entries.items():
        for translation in found:
            assert known.writes(translation.text)
            assert translation.text.casefold() != word


def test_nine_in_ten_of_vietnamese_muse_are_identity_pairs(shared_data: Path) -> None:
    lexicon = load_lexicon(str(shared_data / "lexicon_muse" / "en-vi.txt.gz"), "vi")
    assert lexicon.dropped["identical"] > 9 * lexicon.pairs


PANLEX = ("af", "bn", "hi", "ja", "sw", "te", "zh")


@pytest.mark.parametrize("code", PANLEX)
def test_panlexs_archive_gives_words_of_the_language(shared_data: Path, code: str) -> None:
    lexicon = load_lexicon(str(shared_data / "lexicon_panlex_swadesh" / "panlex_swadesh_mmwp_subset.zip"), code)
    assert len(lexicon.entries) >= 150
    assert all(language(code).writes(item.text) for found in lexicon.entries.values() for item in found)


def test_panlexs_concepts_are_on_the_lines_they_are_thought_to_be_on(shared_data: Path) -> None:
    with zipfile.ZipFile(shared_data / "lexicon_panlex_swadesh" / "panlex_swadesh_mmwp_subset.zip") as archive:
        for folder, concepts in (("swadesh207", SWADESH_207), ("swadesh110", SWADESH_110)):
            lines = archive.read(f"panlex_swadesh/{folder}/eng-000.txt").decode("utf-8").splitlines()
            assert len(lines) == len(concepts)
            for concept, line in zip(concepts, lines, strict=True):
                assert concept in line.split("\t")


def test_an_archive_without_the_language_or_cut_short_says_so(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "lexicon_panlex_swadesh" / "panlex_swadesh_mmwp_subset.zip"
    with pytest.raises(DataError, match=r"no Swadesh list of Gujarati \(guj-\*\.txt"):
        load_lexicon(str(path), "gu")
    (tmp_path / "cut.zip").write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"cut\.zip: the archive cannot be read \(.*\); download it again"):
        load_lexicon(str(tmp_path / "cut.zip"), "sw")


def test_ossetian_gatitos_keeps_its_words(shared_data: Path) -> None:
    with tarfile.open(shared_data / "lexicon_gatitos" / "gatitos_en_xx_all.tar.xz") as archive:
        member = next(name for name in archive.getnames() if name.endswith("en_os.tsv"))
        rows = archive.extractfile(member)
        assert rows is not None
        pairs = [Pair(*line.split("\t")) for line in rows.read().decode("utf-8").splitlines()]
    lexicon = build_lexicon(pairs, language("os"), "en_os.tsv")
    assert lexicon.pairs > 3700
    assert not any("æ" in item.text for found in lexicon.entries.values() for item in found)


def test_every_gatitos_file_is_read(shared_data: Path, tmp_path: Path) -> None:
    with tarfile.open(shared_data / "lexicon_gatitos" / "gatitos_en_xx_all.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    files = sorted(tmp_path.rglob("en_*.tsv"))
    assert len(files) == 173
    for path in files[::6]:
        lexicon = load_lexicon(str(path), path.stem.removeprefix("en_"))
        assert len(lexicon.entries) > 1500, path.name


def test_low_coverage_names_only_dictionaries_that_are_not_in_the_lexicon_yet(write) -> None:
    known = load_lexicon(write("dog\tmbwa\n"), "sw")
    little = Coverage(100, 1)
    said = low_coverage("sw", little, known.sources)
    assert said is not None
    assert "`lilift lexicon fetch wiktionary,afromt --languages sw --into more`" in said
    sources = [replace(known.sources[0], name=name) for name in ("wiktionary", "afromt")]
    said = low_coverage("sw", little, sources)
    assert said is not None
    assert "lexicon fetch" not in said
    assert low_coverage("sw", Coverage(100, 90)) is None
