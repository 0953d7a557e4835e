"""Dictionary files of every published kind: each line by its own separator, nothing that is no pair, English on either side."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lilift.data.lexicons.dictionary_files import read_dictionary
from lilift.data.lexicons.lexicon import Lexicon
from lilift.data.lexicons.lexicon_folder import import_lexicon
from lilift.recipe.errors import DataError

TWO = {"water": ["maji"], "house": ["nyumba"]}
FOUR = TWO | {"book": ["kitabu"], "tree": ["mti"]}


def read(folder: Path, content: str | bytes, code: str = "sw", name: str = "words.txt") -> Lexicon:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return import_lexicon(path, code)


def entries(lexicon: Lexicon) -> dict[str, list[str]]:
    return {word: [item.text for item in found] for word, found in lexicon.entries.items()}


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("water\tmaji\nhouse\tnyumba\nbook kitabu\ntree mti\n", FOUR),
        ("water maji\nhouse nyumba\nbook\tkitabu\ntree\tmti\n", FOUR),
        ("water maji\nhouse   nyumba\nbook = kitabu\ntree\tmti\n", FOUR),
        ("water\u3000maji\nhouse\u00a0\u00a0nyumba\nbook\u00a0kitabu\ntree  mti\n", FOUR),
        ("water → maji\nhouse -> nyumba\nbook :: kitabu\ntree | mti\n", FOUR),
        ("water - maji\nhouse – nyumba\nbook : kitabu\ntree => mti\n", FOUR),
        ("water: maji\nhouse: nyumba\n", TWO),
        ("water=maji\nhouse=nyumba\n", TWO),
        ("water maji 0.93\nhouse nyumba 1e-3\n", TWO),  # bicleaner, fast_align
        ("water maji noun\nhouse nyumba n.\n", TWO),
        ("water\tmaji\tnoun\nhouse\tnyumba\tn.\n", TWO),
        ("water\tnoun\tmaji\nhouse\tn.\tnyumba\n", TWO),
        ("water\tmaji\t0.93\tfrom a speaker\nhouse\tnyumba\t1\t\n", TWO),
        ("1\twater\tmaji\n2\thouse\tnyumba\n", TWO),
        ("12034\twater\tmaji\n233\thouse\tnyumba\n", TWO),
        ("water\t12034\tmaji\nhouse\t233\tnyumba\n", TWO),
        ("water\t\tmaji\nhouse\t\t\tnyumba\nbook\tkitabu\n\ttree\tmti\n", FOUR),
        ("water,maji\nhouse,nyumba\n", TWO),
        ("water;maji\nhouse;nyumba\n", TWO),
        ('"water","maji"\n"house","nyumba"\n', TWO),
        ("sep=;\nEnglish;Swahili\nwater;maji\nhouse;nyumba\n", TWO),
        ("water\tmaji # common\nhouse\tnyumba // old\n", TWO),
        ("\ufeffwater\tmaji\n\ufeffhouse\tnyumba\n", TWO),
        ("water maji, maji safi\nhouse\tnyumba\nbook\tkitabu\n", {"house": ["nyumba"], "book": ["kitabu"]}),
        (b"water\tmaji\rhouse\tnyumba\rbook\tkitabu\rtree\tmti", FOUR),
        (b"water\tmaji\r\nhouse\tnyumba\rbook\tkitabu\ntree\tmti\r", FOUR),
        (gzip.compress(b"water\tmaji\rhouse nyumba\r", mtime=0), TWO),
        ("good morning\thabari za asubuhi\nwater\tmaji\nhouse\tnyumba\n", TWO),
    ],
)
def test_each_line_is_split_by_its_own_separator(tmp_path: Path, content: str | bytes, wanted: dict[str, list[str]]) -> None:
    assert entries(read(tmp_path, content)) == wanted


def test_a_comma_in_a_quoted_cell_separates_translations_not_columns(tmp_path: Path) -> None:
    content = 'English,Swahili,Part of speech\nwater,maji,noun\nhouse,"nyumba, makazi",noun\n'
    lexicon = read(tmp_path, content, name="words.csv")
    assert entries(lexicon) == {"water": ["maji"], "house": ["nyumba", "makazi"]}
    assert lexicon.sources[0].skipped == {"header": 1}


def test_entries_of_several_words_are_never_split_where_there_are_tabs(tmp_path: Path) -> None:
    pairs = "".join(f"{letter}ord\tneno{letter}\n" for letter in "abcdefghijkl")
    lexicon = read(tmp_path, f"{pairs}ice cream\ngood morning\thabari ya asubuhi\nschool bus\tbasi la shule\n")
    assert not {"ice", "good", "school"} & set(lexicon.entries)
    assert lexicon.dropped == {"malformed line": 1, "several English words": 2}
    assert lexicon.sources[0].examples["malformed line"] == ("ice cream",)
    # A word in the script of the language shows that the blank separates.
    hindi = "".join(f"{letter}ord\tशब्द\n" for letter in "abcdefghijkl")
    assert entries(read(tmp_path, hindi + "water पानी\n", "hi"))["water"] == ["पानी"]


@pytest.mark.parametrize(
    "content",
    [
        "# Swahili words, CC BY\n// made by hand\n% 2026\n; a note\nwater\tmaji\nhouse\tnyumba\n",
        "# one\nSource\tTarget\n# two\nwater\tmaji\nSOURCE\tTARGET\nhouse\tnyumba\n",
        "word\ttranslation\npos\nwater\tmaji\nhouse\tnyumba\n".replace("pos\n", "# pos\n# more\n# more\n"),
        "en\tsw\n# c\n# c\nwater\tmaji\nEnglish\tSwahili\nhouse\tnyumba\n",
        "# c\n# c\neng_Latn\tswh_Latn\nenglish\tKiswahili\nwater\tmaji\nhouse\tnyumba\n",
        "# c\n# c\n# c\nEnglish word\tSwahili translation\tPart of speech\nwater\tmaji\tn\nhouse\tnyumba\tn\n",
        "# c\n# c\n# c\nenglish swahili\nwater maji\nhouse nyumba\n",
        "# c\n# c\n# c\nFrequency\tEnglish\tSwahili\n12\twater\tmaji\n3\thouse\tnyumba\n",
        "# c\n# c\n# c\nid,word,pos,translation\n1,water,n,maji\n2,house,n,nyumba\n",
    ],
)
def test_comments_and_headers_in_any_line_are_no_pairs_and_are_counted(tmp_path: Path, content: str) -> None:
    lexicon = read(tmp_path, content)
    (source,) = lexicon.sources
    assert (entries(lexicon), source.read, dict(source.dropped)) == (TWO, 2, {})
    assert sum(source.skipped.values()) == 4


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("so\tda", "hr"),
        ("it\tto", "pl"),
        ("from\tde", "fr"),
        ("word\tneno", "sw"),
        ("source\tchanzo", "sw"),
        ("term\tterme", "fr"),
    ],
)
def test_words_that_are_codes_or_headers_too_stay_pairs(tmp_path: Path, line: str, code: str) -> None:
    english, translation = line.split("\t")
    lexicon = read(tmp_path, f"water\tvoda\n{line}\nhouse\tkuca\n{line}\n", code)
    assert entries(lexicon)[english] == [translation]
    assert entries(read(tmp_path, f"{line}\nwater\tvoda\nhouse\tkuca\n", code))[english] == [translation]


@pytest.mark.parametrize(
    ("content", "code", "wanted"),
    [
        ("maji\twater\nnyumba\thouse\nkitabu\tbook\nmti\ttree\n", "sw", FOUR),
        ("maji water\nnyumba house\nkitabu book\nmti tree\n", "sw", FOUR),
        ("maji @ water\nnyumba @ house\nkitabu @ book\nmti @ tree\n", "sw", FOUR),  # hunalign
        ("Swahili\tEnglish\nmaji\twater\nnyumba\thouse\n", "sw", TWO),
        ("पानी\twater\nघर\thouse, home\n", "hi", {"water": ["पानी"], "house": ["घर"], "home": ["घर"]}),
        (
            "maji\twater; liquid\nnyumba\thouse\nmti\ttree\n",
            "sw",
            {"water": ["maji"], "liquid": ["maji"], "house": ["nyumba"], "tree": ["mti"]},
        ),
    ],
)
def test_english_on_the_right_is_recognised_and_said(
    tmp_path: Path, content: str, code: str, wanted: dict[str, list[str]]
) -> None:
    lexicon = read(tmp_path, content, code)
    assert entries(lexicon) == wanted
    assert lexicon.sources[0].turned
    assert "English on the right" in lexicon.sources[0].remarks()[0]


def test_a_table_without_the_language_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"words\.txt:1: the table has no column for language 'sw'; its columns: English, German"
    ):
        read(tmp_path, "English\tGerman\nwater\tWasser\n")


def test_the_small_inputs_of_public_reports(shared_data: Path) -> None:
    folder = shared_data.parent / "cases" / "07-dictionary-mixed-delimiters"
    if not folder.is_dir():
        pytest.skip("the small inputs of public reports are not here")
    for name, read_, kept in (("tab_then_space.txt", 4, 4), ("space_then_tab.txt", 7, 6), ("comment_first.tsv", 7, 6)):
        source = import_lexicon(folder / name, "sw").sources[0]
        assert (source.read, source.kept) == (read_, kept), name


WORD = st.text(alphabet="abcdefghijkmnop", min_size=2, max_size=7)
SEPARATORS = ["\t", " ", "  ", " = ", " - ", " → ", ": ", "\t\t", "\u3000"]
ROWS = st.lists(st.tuples(WORD, st.sampled_from(SEPARATORS), WORD), min_size=1, max_size=10)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS, st.sampled_from(["\n", "\r\n", "\r"]))
def test_no_mix_of_separators_loses_or_mixes_words(tmp_path: Path, rows: list[tuple[str, str, str]], ending: str) -> None:
    # Of ten lines, each separator has the tenth that makes it believable; x and z keep common English words and headers away.
    lines = [(f"x{one}", sign, f"z{other}") for one, sign, other in rows]
    path = tmp_path / "words.txt"
    path.write_bytes(ending.join(one + sign + other for one, sign, other in lines).encode("utf-8"))
    found = [(pair.english, pair.translation) for pair in read_dictionary(path, "sw").pairs]
    assert found == [(one, other) for one, _, other in lines]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(alphabet="ab #;%/\t\r\n,=-:→|\"'\ufeff\u3000नжé", max_size=80).map(str.encode))
def test_any_bytes_are_pairs_or_one_clear_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.txt"
    path.write_bytes(content)
    try:
        lexicon = import_lexicon(path, "sw")
    except DataError as error:
        lines = error.line().splitlines()
    else:
        lines = [""]
        assert _kept_is_counted(lexicon)
    assert len(lines) == 1


def _kept_is_counted(lexicon: Lexicon) -> bool:
    (source,) = lexicon.sources
    return source.kept == lexicon.pairs > 0 and all(len(found) <= 3 for found in source.examples.values())


GOLDEN = [
    # file, language, pairs read, pairs kept, lines that are no pairs
    ("lexicon_afromt/en-sw.txt.gz", "sw", 35438, 31649, {"header": 1}),
    ("lexicon_muse/en-vi.txt.gz", "vi", 77020, 6647, {}),
    ("lexicon_wechsel_wiktionary/swahili.txt.gz", "sw", 5325, 4785, {}),  # one acronym kept its capitals
    ("lexicon_gatitos/en_hi.tsv.gz", "hi", 3987, 3667, {}),
    ("lexicon_frekwencja_5050/common_words_48langs.tsv.gz", "de", 5050, 3972, {"header": 1}),
]


@pytest.mark.parametrize(("name", "code", "read_", "kept", "skipped"), GOLDEN)
def test_real_dictionaries_keep_their_counts(
    shared_data: Path, name: str, code: str, read_: int, kept: int, skipped: dict[str, int]
) -> None:
    source = import_lexicon(shared_data / name, code).sources[0]
    assert (source.read, source.kept, dict(source.skipped), source.turned) == (read_, kept, skipped, False)
