"""Word vectors: every published format is read, and a file that cannot be used says why in one line."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lilift.data.induction.vector_training import train_embeddings
from lilift.data.induction.word_vectors import read_embeddings
from lilift.data.languages import language
from lilift.recipe.errors import DataError

WORDS = ["ya", "mbwa", "ñawi", "犬"]
VECTORS = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -3.0], [0.0, 1.0, 0.125], [4.0, 0.5, 1.0]], dtype=np.float32)


def as_text(*, header: bool = True) -> bytes:
    rows = [f"{word} {' '.join(map(str, vector))} \n" for word, vector in zip(WORDS, VECTORS.tolist(), strict=True)]
    return ("4 3\n" * header + "".join(rows)).encode("utf-8")


def as_word2vec_binary(*, breaks: bool = True) -> bytes:
    rows = [word.encode("utf-8") + b" " + row.tobytes() + b"\n" * breaks for word, row in zip(WORDS, VECTORS, strict=True)]
    return b"4 3\n" + b"".join(rows)


@pytest.fixture
def write(tmp_path: Path):
    def written(content: bytes, name: str = "words.vec") -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return written


FORMATS = {
    "text": as_text(),
    "without a header": as_text(header=False),
    "gzipped": gzip.compress(as_text(), mtime=0),
    "windows": as_text().replace(b"\n", b"\r\n"),
    "byte-order mark": b"\xef\xbb\xbf" + as_text(),
    "binary": as_word2vec_binary(),
    "binary without line breaks": as_word2vec_binary(breaks=False),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_vectors_up_to_the_limit(write, name: str) -> None:
    path = write(FORMATS[name])
    found = read_embeddings(path, 10)
    assert found.words == WORDS
    assert torch.equal(found.vectors, torch.from_numpy(VECTORS))
    assert read_embeddings(path, 2).words == WORDS[:2]


def test_a_word_that_comes_twice_keeps_its_first_vector(write) -> None:
    found = read_embeddings(write(as_text().replace(b"mbwa", b"ya")), 10)
    assert found.words == ["ya", "ñawi", "犬"]
    assert found.vectors[1].tolist() == VECTORS[2].tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "its first line is neither"),
        (b"just text, no vectors", "its first line is neither"),
        (b"4 3\n", "the file has no vector"),
        (as_text().replace(b"4 3", b"4 4"), r"most of the file cannot be used \(damaged vector 4 of 4\)"),
        (as_text().replace(b"4 3", b"4 2"), "most vectors have more numbers than the 2 that the file promises"),
        (b"4 3\n" + b"\xf1a 1 2 3\n" * 3 + b"a 1 2 3\n", r"\(word that is not UTF-8 3 of 4\); .* save it as UTF-8"),
        (as_text().decode("utf-8").encode("utf-16"), "the file is UTF-16"),
        (gzip.compress(as_text() * 500, mtime=0)[:60], "the gzip file is cut short"),
        (b"4 3\n" + b"x" * (2 << 20), r"words\.vec:2: a line is longer than 1 MiB"),
        (as_word2vec_binary()[:12], "the file has no vector"),
        (struct.pack("<2i", 793712314, 11) + bytes(100), "version 11 of the format"),
        (struct.pack("<2i", 793712314, 12) + bytes(20), "the fastText model is cut short or damaged"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_line(write, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_embeddings(write(content), 10)
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize(
    ("content", "words", "left_out", "remark"),
    [
        (as_text()[:52], WORDS[:2], {"damaged vector": 1}, "3 vectors instead of the 4 that it promises; is it cut short"),
        (as_text()[:60], WORDS[:3], {}, "3 vectors instead of the 4"),
        (as_text().replace(b"4 3", b"9 3"), WORDS, {}, "4 vectors instead of the 9"),
        (as_text().replace(b"4 3", b"2 3"), WORDS, {}, "4 vectors instead of the 2 that it promises; its first line is wrong"),
        (as_text().replace(b"1.5 0.25", b"1.5"), ["ya", "ñawi", "犬"], {"damaged vector": 1}, ""),
        (as_text().replace(b"0.25", b"x.25"), ["ya", "ñawi", "犬"], {"damaged vector": 1}, ""),
        (as_text().replace(b"0.25", b"nan"), ["ya", "ñawi", "犬"], {"not a number (NaN or infinite)": 1}, ""),
        (as_text().decode("utf-8").encode("latin-1", "replace"), ["ya", "mbwa", "?"], {"word that is not UTF-8": 1}, ""),
        (as_text().replace("犬".encode(), b"\xe7\x8a"), WORDS[:3], {"word that is not UTF-8": 1}, ""),
        (as_text().replace(b"mbwa", b"mbwa  mwitu"), ["ya", "mbwa  mwitu", "ñawi", "犬"], {}, "1 word with a blank"),
        (as_text().replace(b"mbwa", "mbwa\u00a0mwitu".encode()), ["ya", "mbwa\u00a0mwitu", "ñawi", "犬"], {}, "with a blank"),
        (as_text().replace(b"mbwa", "\u00a0".encode()), ["ya", "ñawi", "犬"], {"empty word": 1}, ""),
        (as_text().replace(b"mbwa", b""), ["ya", "ñawi", "犬"], {"empty word": 1}, ""),
        (as_text().replace(b"mbwa", b"</s>"), ["ya", "ñawi", "犬"], {"end of sentence": 1}, ""),
        (as_text().replace(b" \n", b"   \t\n"), WORDS, {}, ""),
        (as_text().replace(b"\n", b"\n\n"), WORDS, {}, ""),
        (as_text(header=False).replace(b"mbwa", b". . ."), ["ya", ". . .", "ñawi", "犬"], {}, "with a blank"),
        (as_word2vec_binary()[:40], WORDS[:2], {}, "2 vectors instead of the 4 that it promises; is it cut short"),
        (as_word2vec_binary().replace(b"4 3", b"2 3"), WORDS, {}, "4 vectors instead of the 2"),
        (as_word2vec_binary().replace(b"mbwa", b"mbwa mwitu"), ["ya", "mbwa mwitu", "ñawi", "犬"], {}, "with a blank"),
        (as_word2vec_binary(breaks=False).replace(b"mbwa", b"a b c"), ["ya", "a b c", "ñawi", "犬"], {}, "with a blank"),
        (as_word2vec_binary().replace(b"mbwa", b""), ["ya", "ñawi", "犬"], {"empty word": 1}, ""),
        (as_word2vec_binary().replace(b"mbwa", b"ya"), ["ya", "ñawi", "犬"], {"word that comes twice": 1}, ""),
        (as_word2vec_binary().replace("犬".encode(), b"\xe7\x8a"), WORDS[:3], {"word that is not UTF-8": 1}, ""),
        (gzip.compress(as_word2vec_binary(), mtime=0), WORDS, {}, ""),
    ],
)
def test_what_cannot_be_used_is_left_out_and_counted(
    write, content: bytes, words: list[str], left_out: dict[str, int], remark: str
) -> None:
    found = read_embeddings(write(content), 10)
    assert (list(found.words), dict(found.left_out)) == (words, left_out)
    assert remark in " ".join(found.warnings())
    assert bool(found.remarks) == bool(remark)
    rows = [row for row in VECTORS.tolist() if row in found.vectors.tolist()]
    assert found.vectors.tolist() == rows, "no vector is made of other bytes"


ODD_WORDS = st.one_of(
    st.sampled_from([b"new york", b". . .", b"", b"</s>", "\u00a0".encode(), "a\u3000b".encode(), b"\xe7\x8a", b"ya"]),
    st.text(alphabet="abñ犬é-", min_size=1, max_size=6).map(str.encode),
)
NUMBERS = st.floats(-8, 8, width=32).filter(lambda value: value == 0 or abs(value) > 1e-6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(ODD_WORDS, st.lists(NUMBERS, min_size=8, max_size=8)), min_size=3, max_size=12), st.booleans())
def test_text_and_binary_treat_every_word_alike(tmp_path: Path, rows: list[tuple[bytes, list[float]]], breaks: bool) -> None:
    head = f"{len(rows)} 8\n".encode()
    text = b"".join(word + b" " + " ".join(map(repr, numbers)).encode() + b"\n" for word, numbers in rows)
    packed = b"".join(word + b" " + np.float32(numbers).tobytes() + b"\n" * breaks for word, numbers in rows)
    found = []
    for name, content in (("a.vec", text), ("a.bin", packed)):
        (tmp_path / name).write_bytes(head + content)
        try:
            one = read_embeddings(tmp_path / name, 100)
        except DataError as error:
            found.append(error.what)
        else:
            found.append((list(one.words), one.vectors.tolist(), dict(one.left_out)))
    if any(byte < 9 for byte in packed[:4096]):  # otherwise nothing shows that it is binary
        assert found[0] == found[1]


def test_gensims_two_formats_give_the_same_words_and_numbers(tmp_path: Path) -> None:
    gensim = pytest.importorskip("gensim.models.keyedvectors")
    words = ["ya", "new york", "0,0 km²", "a\u00a0b", "ñawi", "犬", "</s>"]
    vectors = np.random.default_rng(0).standard_normal((len(words), 16)).astype(np.float32)
    kept = gensim.KeyedVectors(16)
    kept.add_vectors(words, vectors)
    kept.save_word2vec_format(str(tmp_path / "a.vec"), binary=False)
    kept.save_word2vec_format(str(tmp_path / "a.bin"), binary=True)
    text, packed = (read_embeddings(tmp_path / name, 100) for name in ("a.vec", "a.bin"))
    assert list(text.words) == list(packed.words) == words[:-1]
    torch.testing.assert_close(text.vectors, packed.vectors)
    assert torch.equal(packed.vectors, torch.from_numpy(vectors[:-1]))


@pytest.mark.parametrize(("name", "words"), [("space_word.vec", 31), ("space_word.bin", 31)])
def test_one_word_with_a_blank_neither_refuses_a_file_nor_shifts_it(shared_data: Path, name: str, words: int) -> None:
    folder = shared_data.parent / "cases" / "10-vectors-word-with-space"
    if not folder.is_dir():
        pytest.skip("the small inputs of public reports are not here")
    found = read_embeddings(folder / name, 100)
    assert list(found.words) == [*(f"w{number}" for number in range(5)), "new york", *(f"w{number}" for number in range(5, 30))]
    assert len(found.words) == words
    assert float(found.vectors.abs().max()) < 5


@pytest.mark.parametrize("breaks", [True, False])
def test_a_binary_file_of_phrases_is_read(write, breaks: bool) -> None:
    content = as_word2vec_binary(breaks=breaks)
    for word in WORDS:
        content = content.replace(word.encode("utf-8") + b" ", f"{word} la {word} ".encode())
    found = read_embeddings(write(content), 10)
    assert found.words == [f"{word} la {word}" for word in WORDS]
    assert torch.equal(found.vectors, torch.from_numpy(VECTORS))


def test_a_no_break_space_within_most_words_is_no_fault(write) -> None:
    content = as_text()
    for word in WORDS:
        content = content.replace(f"{word} ".encode(), f"{word}\u00a0{word} ".encode())
    assert read_embeddings(write(content), 10).words == [f"{word}\u00a0{word}" for word in WORDS]


def test_a_compressed_fasttext_model_is_named_as_such(write) -> None:
    path = write(gzip.compress(struct.pack("<2i", 793712314, 12) + bytes(200), mtime=0), "cc.sw.300.bin.gz")
    with pytest.raises(DataError, match="is a compressed fastText model; unpack it"):
        read_embeddings(path, 10)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.vec: cannot read the vectors \(No such file or directory\)"):
        read_embeddings(tmp_path / "none.vec", 10)


TEXT = "mbwa na paka wanacheza nyumbani kwa ñawi 犬犬\nPaka, mbwa na kuku wako nyumbani leo\n" * 30


def test_fasttext_models_are_read_as_gensim_reads_them(tmp_path: Path) -> None:
    fasttext = pytest.importorskip("gensim.models.fasttext")
    sentences = [line.lower().split() for line in TEXT.splitlines()]
    model = fasttext.FastText(sentences, vector_size=8, min_count=1, min_n=2, max_n=4, bucket=300, workers=1, epochs=1)
    path = tmp_path / "model.bin"
    fasttext.save_facebook_model(model, str(path))
    found = read_embeddings(path, 100)
    assert list(found.words) == model.wv.index_to_key
    np.testing.assert_allclose(found.vectors.numpy(), model.wv.vectors, atol=1e-5)
    whole = path.read_bytes()
    odd = {b"paka\0": b"p ka\0", b"kuku\0": b"kuk\xc3\0"}
    for word, other in odd.items():
        assert whole.count(word) == 1
        path.write_bytes(whole.replace(word, other))
        changed = read_embeddings(path, 100)
        if other == b"p ka\0":
            assert "p ka" in changed.words
            assert "blank" in changed.remarks[0]
        else:
            assert changed.left_out == {"word that is not UTF-8": 1}
            assert len(changed.words) == len(found.words) - 1
    path.write_bytes(whole[:4000])
    with pytest.raises(DataError, match="cut short or damaged"):
        read_embeddings(path, 100)


def test_vectors_trained_on_a_text_know_its_frequent_words_and_repeat(tmp_path: Path) -> None:
    pytest.importorskip("gensim")
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    first, again = (train_embeddings(path, language("sw"), dimension=8, epochs=1) for _ in range(2))
    assert set(first.words[:4]) == {"mbwa", "na", "paka", "nyumbani"}
    assert first.vectors.shape == (len(first.words), 8)
    assert torch.equal(first.vectors, again.vectors)


@pytest.mark.parametrize(
    ("code", "text", "message"),
    [
        ("sw", "", "the text has no words"),
        ("sw", "moja mbili tatu\n", "no word occurs at least 5 times"),
        ("th", "ฉันชอบกินข้าวผัดและต้มยำกุ้งมากที่สุด\n" * 30, "no spaces between words .* segmenter for Thai"),
        ("zh", "农民在市场上卖掉了鸡蛋，剩下的鸡蛋分给了邻居。\n" * 30, "no spaces between words"),
    ],
)
def test_a_text_that_cannot_be_trained_on_is_one_clear_line(tmp_path: Path, code: str, text: str, message: str) -> None:
    pytest.importorskip("gensim")
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        train_embeddings(path, language(code), dimension=8, epochs=1)
